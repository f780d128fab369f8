"""Write the JSON schemas of the claims file and of a run's result files. `make generated` calls this; a test keeps them in sync."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from cardproof.claims.audit import Audit
from cardproof.claims.claims_file import ClaimsFile
from cardproof.claims.reconcile import Reconciliation
from cardproof.claims.verdicts import Verdicts
from cardproof.evaluation.results import MODELS
from cardproof.training.results import TrainingMetrics
from cardproof.verifier.results import VerifierMetrics

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
FILES: dict[str, type[BaseModel]] = {
    "claims": ClaimsFile,
    **{f"results/{name}": model for name, model in MODELS.items()},
    "results/reconcile": Reconciliation,
    "results/claims": Verdicts,
    "results/audit": Audit,
    "results/training": TrainingMetrics,
    "results/verifier": VerifierMetrics,
}
"""Path of a schema below `schemas/`, without its suffix -> the model that it describes."""


def contents() -> dict[Path, str]:
    """Every schema file and its content."""
    return {SCHEMAS / f"{name}.schema.json": text(model) for name, model in FILES.items()}


def text(model: type[BaseModel]) -> str:
    """The JSON schema of a model in files; a file may lack the fields that have a default."""
    schema: dict[str, Any] = {"$schema": GenerateJsonSchema.schema_dialect, **model.model_json_schema(mode="validation")}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, content in contents().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
