"""What `training/VARIANT/metrics.json` holds: the source of its schema in `schemas/results/`."""

from __future__ import annotations

from cardproof.records import Result


class TrainingMetrics(Result):
    """`training/VARIANT/metrics.json`: the examples, the recipe and the losses of a training run."""

    variant: str
    """Name of the training run: a variant, a replica of it (NAME.seedN) or a reading of the recipe."""
    model: str
    """Base model as configured."""
    model_hash: str
    """Revision of the base model, or the sha256 of its weights."""
    adapter_hash: str
    """sha256 of the adapter's weights."""
    quantization: str
    """Quantization of the base during training: `nf4` or `none`."""
    examples: int
    """Training examples."""
    contract_examples: int
    """Examples in contract form."""
    freeform_examples: int
    """Examples in free form."""
    seed: int
    """Training seed."""
    epochs: int
    """Passes over the examples."""
    effective_batch: int
    """Examples in one optimizer step."""
    steps: int
    """Optimizer steps."""
    rank: int
    """Rank of the LoRA matrices."""
    alpha: int
    """Scale of the LoRA matrices."""
    learning_rate: float
    """Peak learning rate."""
    loss_per_step: list[float]
    """Loss of every optimizer step, in nats per reply token."""
    train_loss: float
    """Mean over all steps, in nats per reply token."""
    last_loss: float
    """Loss of the last step, in nats per reply token."""
    tokens: int
    """Tokens of all examples, prompts included, over all epochs."""
    reply_tokens: int
    """Tokens that count in the loss, over all epochs."""
    trainable_parameters: int
    """Parameters of the adapter."""
    base_parameters: int
    """Parameters of the base; a packed 4-bit weight counts as its values."""
    total_parameters: int
    """Base and adapter."""
    trainable_share_of_base: float
    """Adapter / base, in [0, 1]."""
    trainable_share_of_total: float
    """Adapter / (base and adapter), in [0, 1]."""
    device: str
    """Where it was trained: `cpu` or `cuda`."""
    environment: dict[str, str]
    """Python and packages -> version."""
