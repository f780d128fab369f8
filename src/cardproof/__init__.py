"""cardproof: regenerate every number on a published model card, and judge each one."""

__version__ = "0.1.0"
