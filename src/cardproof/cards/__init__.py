"""Any model card: read as people write them, its relations found and audited. Nothing here knows a claims file, a run or a model."""
