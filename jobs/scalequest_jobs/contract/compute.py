"""The spec's machines, limits and retries."""

from typing import Annotated, Any, Final, Literal

import pydantic

from scalequest_jobs.contract.base import DnsLabel, SpecModel

StageName = Annotated[str, pydantic.Field(pattern=r"^[a-z]+(-[a-z]+)+$", max_length=40)]

Quantity = Annotated[
    str, pydantic.Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$", max_length=20)
]

ResourceName = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9./-]+$", max_length=128)]

_EMPTY: Final[dict[str, Any]] = {"default_factory": dict, "json_schema_extra": {"default": {}}}


class EngineSpec(SpecModel):
    """How engines use their device; the defaults suit most."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Weights and activations: auto is the model's own on a GPU, float32 on a CPU."""
    max_model_length: Annotated[int, pydantic.Field(ge=64, le=1_048_576)] | None = None
    """Longest prompt and answer together, in tokens; the model's own when absent."""
    gpu_memory_utilization: Annotated[float, pydantic.Field(gt=0, le=1)] | None = None
    """Share of the device's memory for weights and KV cache."""
    max_sequences: Annotated[int, pydantic.Field(ge=1, le=8192)] | None = None
    """Sequences decoded at once."""
    enforce_eager: bool = False
    """Skip graph compilation: slower steps, faster start."""
    window: Annotated[int, pydantic.Field(ge=1, le=65_536)] = 2048
    """Requests handed to the engine ahead of their answers."""


class StageCompute(SpecModel):
    """Overrides for one stage."""

    shards: Annotated[int, pydantic.Field(ge=1, le=1000)] = 1
    """Workers that share the stage's rows."""
    chunk_rows: Annotated[int, pydantic.Field(ge=1, le=1_000_000)] | None = None
    """Rows committed together: what an interrupted worker loses at most."""
    resources: Annotated[dict[ResourceName, Quantity], pydantic.Field(max_length=8, **_EMPTY)]
    """Resource requests in place of the profile's, for example `nvidia.com/gpu: "2"`."""


class Compute(SpecModel):
    """Where stages run."""

    profile: DnsLabel = "default"
    """Profile of the operator's configuration: images, nodes, queue, prices."""
    engine: EngineSpec = EngineSpec()
    stages: Annotated[dict[StageName, StageCompute], pydantic.Field(max_length=32, **_EMPTY)]
    """Overrides by stage name."""


class Budget(SpecModel):
    """Limits that pause the run; finished chunks stay and a higher limit resumes it."""

    max_gpu_hours: Annotated[float, pydantic.Field(gt=0, le=10_000_000)] | None = None
    """GPU-hours of all stages together."""
    max_cost_usd: Annotated[float, pydantic.Field(gt=0, le=100_000_000)] | None = None
    """Cost of all stages together, in USD."""


class Retries(SpecModel):
    """How often a shard is tried again."""

    failures: Annotated[int, pydantic.Field(ge=0, le=100)] = 3
    """Attempts of one shard that may fail by themselves."""
    disruptions: Annotated[int, pydantic.Field(ge=0, le=10_000)] | Literal["unlimited"] = "unlimited"
    """Attempts of one shard that may be lost to preemption, eviction or a lost node."""
