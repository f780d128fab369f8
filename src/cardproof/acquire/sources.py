"""What a configuration takes from the hub."""

from __future__ import annotations

from cardproof.config.settings import Config

HUB_IDS = {"smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Embedded models by the name under which the Hub knows them."""


def hub_id(config: Config) -> str | None:
    """The base model's name on the Hub; None for a local folder, whose path means nothing elsewhere."""
    return config.model.id if config.model.source == "hub" else HUB_IDS.get(config.model.id)


def hub_sources(config: Config) -> dict[str, tuple[str, str | None]]:
    """What the run takes from the hub: setting -> (id, revision)."""
    sources: dict[str, tuple[str, str | None]] = {}
    if config.benchmark.source == "hub":
        sources["benchmark"] = (config.benchmark.id, config.benchmark.revision)
    if config.model.source == "hub":
        sources["model"] = (config.model.id, config.model.revision)
    if config.verifier.source == "hub":
        sources["verifier"] = (config.verifier.id, config.verifier.revision)
    for name, arm in config.arms.items():
        if arm.adapter == "hub":
            sources[f"arms.{name}"] = (str(arm.id), arm.revision)
    return sources
