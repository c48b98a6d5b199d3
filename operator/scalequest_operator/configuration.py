"""The operator's configuration file: stores, and the profiles that runs choose from.

Written by the platform team (Helm values), read when the operator starts and again when it changes. A tenant
chooses a profile by name and nothing in it: no image, no volume, no pod field.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pydantic
import yaml

from scalequest_jobs.contract.base import DnsLabel, SpecModel
from scalequest_jobs.contract.compute import Quantity, StageName
from scalequest_jobs.contract.stage import Role
from scalequest_operator.errors import ConfigurationError

DEFAULT_PROFILE: Final = "default"

AbsolutePath = Annotated[str, pydantic.Field(pattern=r"^/[^\n]*$", max_length=512)]
Resources = dict[Annotated[str, pydantic.Field(max_length=128)], Quantity]


class StoreConfiguration(SpecModel):
    """An S3 server that runs may use. The operator has credentials of its own: it never reads a Secret."""

    endpoint: Annotated[str, pydantic.Field(pattern=r"^https?://[^/\s]+$", max_length=253)]
    """Address for the operator and for pods."""
    region: str = "us-east-1"
    """Region name that requests are signed for."""
    credentials_folder: AbsolutePath
    """Folder with the files access-key and secret-key, mounted into the operator."""
    credentials_secret: DnsLabel = "s3-credentials"  # noqa: S105 - the name of a Secret
    """Secret of that form in each run's namespace, mounted into its pods; a run may name another."""
    ca_file: AbsolutePath | None = None
    """Certificate authority for the operator."""
    ca_config_map: DnsLabel | None = None
    """ConfigMap with the key ca.crt in each run's namespace, for its pods."""


class Volume(SpecModel):
    """A PersistentVolumeClaim of the run's namespace that every stage pod mounts, read-only unless said otherwise."""

    name: DnsLabel
    claim: DnsLabel
    mount_path: AbsolutePath
    sub_path: Annotated[str, pydantic.Field(max_length=512)] = ""
    read_only: bool = True
    version: Annotated[str, pydantic.Field(max_length=128)] = ""
    """Identity of what the volume holds, for example a digest or a date: change it when the content changes. With
    it, models and questions read by path are cached across runs; without it they are read again in every run."""


class RoleConfiguration(SpecModel):
    """What the pods of one role run with."""

    image: Annotated[str, pydantic.Field(min_length=1, max_length=512)]
    """Image; name it by digest, since it is part of a result's identity."""
    resources: Resources = pydantic.Field(default_factory=dict, max_length=16)
    """Requests and, except for CPU, limits: a CPU limit would only throttle."""
    pod: dict[str, Any] = pydantic.Field(default_factory=dict)
    """A partial PodSpec laid over the operator's: maps are merged, lists are appended, anything else replaces."""


class StageConfiguration(SpecModel):
    """What the pods of one stage get besides their role's."""

    pod: dict[str, Any] = pydantic.Field(default_factory=dict)
    """A partial PodSpec laid over the role's, for example a sidecar through which the rewriter's endpoint is reached."""


class Profile(SpecModel):
    """How and where the stages of a run are carried out."""

    store: str | None = None
    """Endpoint of one of `stores`; the first one when absent."""
    roles: dict[Role, RoleConfiguration] = pydantic.Field(json_schema_extra={"required": list(Role)})
    """Image and resources for cpu, train, generate and score."""
    stages: dict[StageName, StageConfiguration] = pydantic.Field(default_factory=dict, max_length=32)
    """What pods of single stages get besides their role's."""
    command: Annotated[tuple[str, ...], pydantic.Field(min_length=1, max_length=16)] = ("scalequest",)
    """What runs in the container; `run STAGE` is added."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[DnsLabel, ...] = ()
    service_account: DnsLabel | None = None
    """Service account of stage pods; they get no token."""
    node_selector: dict[str, str] = pydantic.Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    runtime_class: DnsLabel | None = None
    priority_class: DnsLabel | None = None
    queue: DnsLabel | None = None
    """Kueue's local queue; Jobs are created suspended and Kueue admits them."""
    volumes: tuple[Volume, ...] = ()
    volumes_root: AbsolutePath = "/volumes"
    """Where relative paths of a run start: `path: models/x` is read at `<volumesRoot>/models/x`."""
    environment: dict[Annotated[str, pydantic.Field(pattern=r"^[A-Z_][A-Z0-9_]*$")], str] = pydantic.Field(
        default_factory=dict
    )
    """Environment variables of every stage container, for example a proxy."""
    hub_endpoint: str | None = None
    """Address of the model hub or its mirror."""
    hub_token_secret: DnsLabel | None = None
    """Secret with the key `token` in the run's namespace, for gated models."""
    scratch: Quantity = "20Gi"
    """Size limit of a pod's scratch space."""
    shared_memory: Quantity = "1Gi"
    """Size of /dev/shm, which several GPUs in one pod need."""
    run_as_user: Annotated[int, pydantic.Field(ge=1)] = 65532
    """User and group of stage pods."""
    grace_seconds: Annotated[int, pydantic.Field(ge=1, le=3600)] = 60
    """Time for a worker to finish its chunk after SIGTERM, in seconds."""
    unreachable_seconds: Annotated[int, pydantic.Field(ge=5, le=3600)] = 60
    """How long a pod on an unreachable node is waited for, in seconds, before another takes its shard."""
    job_ttl_seconds: Annotated[int, pydantic.Field(ge=0)] = 86_400
    """How long finished Jobs and their logs stay, in seconds."""

    @pydantic.model_validator(mode="after")
    def check_roles(self) -> "Profile":
        """Demand an image for every role."""
        if missing := [role.value for role in Role if role not in self.roles]:
            raise ValueError(f"roles: give {', '.join(missing)} an image; every role needs one")
        return self

    def volume_of(self, path: str) -> Volume | None:
        """Return the volume that a path of a run is on."""
        place = path if path.startswith("/") else f"{self.volumes_root}/{path}"
        holding = [
            volume
            for volume in self.volumes
            if place == volume.mount_path or place.startswith(volume.mount_path.rstrip("/") + "/")
        ]
        return max(holding, key=lambda volume: len(volume.mount_path), default=None)


class Configuration(SpecModel):
    """Everything in the file."""

    stores: Annotated[tuple[StoreConfiguration, ...], pydantic.Field(min_length=1)]
    profiles: Annotated[dict[DnsLabel, Profile], pydantic.Field(min_length=1)]

    @pydantic.model_validator(mode="after")
    def check_stores(self) -> "Configuration":
        """Demand that every profile's store is listed."""
        known = [store.endpoint for store in self.stores]
        for name, profile in self.profiles.items():
            if profile.store is not None and profile.store not in known:
                raise ValueError(f"profiles.{name}.store: seen {profile.store!r}, expected one of {known}")
        return self

    def store(self, endpoint: str | None) -> StoreConfiguration | None:
        """Return the store with an endpoint, the first one for None."""
        if endpoint is None:
            return self.stores[0]
        return next((store for store in self.stores if store.endpoint == endpoint), None)


def parse(text: str, place: str = "configuration") -> Configuration:
    """Return the configuration in a YAML text.

    Raises:
        ConfigurationError: it is not YAML or breaks a rule; the message names each field.
    """
    try:
        return Configuration.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{place} is not YAML: {error}") from error
    except pydantic.ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors()
        ]
        raise ConfigurationError("\n  ".join([f"{place} is not valid:", *faults])) from error


def read(path: Path) -> str:
    """Return the text of the file; raises ConfigurationError where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}; mount the chart's ConfigMap there"
        ) from error


def load(path: Path) -> Configuration:
    """Return the configuration in a file; raises ConfigurationError."""
    return parse(read(path), str(path))
