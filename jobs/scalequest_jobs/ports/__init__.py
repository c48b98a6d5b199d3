"""The seams of a stage: what it needs of the outside world, as protocols over plain values.

Law: standard library only. Real adapters live in `engines` and `stores`, hand-written fakes in
`tests/fakes.py`; both pass the same suites in `tests/adapters`.
"""

from scalequest_jobs.ports.chat import ChatEndpoint, ChatReply, ChatRequest, SpendLimitError
from scalequest_jobs.ports.engines import EndpointSettings, Engines, EngineSettings
from scalequest_jobs.ports.errors import (
    BadInputError,
    BadParametersError,
    StageError,
    StoppedError,
    TryAgainError,
)
from scalequest_jobs.ports.objects import ArtifactStore, ObjectMissingError
from scalequest_jobs.ports.scores import Score, ScoreModel, ScoreRequest
from scalequest_jobs.ports.text import (
    Completion,
    FinishReason,
    Message,
    Request,
    Sample,
    Sampling,
    TextGenerator,
    Tokenizer,
)
from scalequest_jobs.ports.training import (
    Examples,
    Lora,
    Objective,
    PreferenceExample,
    RegressionExample,
    RewardExample,
    SftExample,
    Trainer,
    TrainingJob,
    TrainingProgress,
    TrainingResult,
    TrainingSettings,
)

__all__ = [
    "ArtifactStore",
    "BadInputError",
    "BadParametersError",
    "ChatEndpoint",
    "ChatReply",
    "ChatRequest",
    "Completion",
    "EndpointSettings",
    "EngineSettings",
    "Engines",
    "Examples",
    "FinishReason",
    "Lora",
    "Message",
    "ObjectMissingError",
    "Objective",
    "PreferenceExample",
    "RegressionExample",
    "Request",
    "RewardExample",
    "Sample",
    "Sampling",
    "Score",
    "ScoreModel",
    "ScoreRequest",
    "SftExample",
    "SpendLimitError",
    "StageError",
    "StoppedError",
    "TextGenerator",
    "Tokenizer",
    "Trainer",
    "TrainingJob",
    "TrainingProgress",
    "TrainingResult",
    "TrainingSettings",
    "TryAgainError",
]
