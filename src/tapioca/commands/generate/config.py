"""What a user asks of `tapioca generate`."""

from pathlib import Path

from pydantic import Field

from tapioca.records.config import BaseConfig


class GenerateConfig(BaseConfig):
    """The request behind `tapioca generate`."""

    model: str = Field(min_length=1, description="Model: a folder, or a hub id.")
    plan: str = Field(min_length=1, description="Plan file, for instance runs/first/plan.json, or its JSON.")
    prompt: str = Field(min_length=1, description="Text to continue.")
    tokens: int = Field(default=100, ge=1, description="Most tokens to write.")
    device: str | None = Field(
        default=None,
        description="cpu, cuda:N, mps, or auto (over all GPUs, then memory, then disk); by default cuda where it is there, else cpu.",
    )
    dtype: str = Field(default="auto", description="Torch dtype; auto keeps the checkpoint's.")
    revision: str | None = Field(default=None, description="Branch, tag or commit of a hub model.")
    trust_remote_code: bool = Field(default=False, description="Run code that comes with the model.")
    adapter: Path | None = Field(
        default=None, description="Folder with a LoRA adapter (peft), merged into the model's weights first."
    )
