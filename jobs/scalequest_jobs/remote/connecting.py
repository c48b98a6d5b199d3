"""How the command line gets to a cluster; the client library is loaded here and not sooner."""

from scalequest_jobs.remote import api, errors


def connect(context: str | None) -> api.Connection:
    """Return the way to a cluster.

    Raises:
        SetupError: this machine has none; the message says what is missing.
    """
    try:
        from scalequest_jobs.remote import kubernetes_api
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "kubernetes":
            raise
        raise errors.SetupError(
            "a cluster is reached by the Kubernetes client, which is not installed: "
            "pip install 'scalequest-operator[client]'"
        ) from error
    return kubernetes_api.connect(context)
