"""RO-Crates held against the profiles by the field's own validator, without a network."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROVENANCE = "provenance-run-crate-0.5"


def issues(crate: Path, cache: Path, severity: str = "REQUIRED", profile: str = PROVENANCE) -> Counter[str]:
    """The checks of a profile, and of all that it rests on, that a crate fails -> how often; `cache` is a file that is made here.

    The validator asks the network for one document, the JSON-LD context of RO-Crate 1.1. The library `rocrate` has it.
    """
    from requests import Request
    from requests_cache import CachedResponse, CachedSession
    from rocrate_validator import services
    from rocrate_validator.models import ValidationSettings

    with CachedSession(cache_name=str(cache), backend="sqlite", expire_after=-1) as session:
        response = CachedResponse(status_code=200, url=CONTEXT, headers={"Content-Type": "application/ld+json"})
        response._content = (files("rocrate") / "data" / "ro-crate.jsonld").read_bytes()
        asked = session.prepare_request(Request("GET", CONTEXT, headers={"Accept": "application/ld+json, application/json"}))
        session.cache.save_response(response, session.cache.create_key(asked))
    settings = ValidationSettings(
        rocrate_uri=str(crate), profile_identifier=profile, requirement_severity=severity, offline=True, cache_path=cache
    )
    result = services.validate(settings)
    return Counter(f"{issue.severity.name} {issue.check.identifier} {issue.check.name}" for issue in result.get_issues())
