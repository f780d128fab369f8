"""What a configuration takes from the hub."""

from __future__ import annotations

from cardproof.config.settings import Config


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
