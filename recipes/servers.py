"""Where an OpenAI-compatible server is and how it is asked. Nothing here names a result, and nothing is a secret:
a key is named by the environment variable that holds it."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator

from recipes.section import Section

Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of an environment variable."""


class Server(Section):
    """A server, up to and with its `/v1`."""

    url: str | None = Field(default=None, description="as in http://gpu-box:8000/v1")
    api_key_env: Variable | None = Field(default=None, description="name of the environment variable with the key")
    timeout_s: float = Field(default=600, gt=0, description="for one answer")
    attempts: int = Field(default=8, ge=1, description="for one answer, with growing pauses, when the server is busy")

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a server's url is http://<host>[:<port>]/v1 or https://…")
        if parts.username or parts.password or parts.query:
            raise ValueError("a server's url holds no user, password or query; name the key's variable in api_key_env")
        return url.rstrip("/")


class CheckpointServer(Server):
    """A server that serves the checkpoint to evaluate.

    `model` is the name under which it does; `{checkpoint}` in it stands for the checkpoint's digest, `{name}` for its
    name in the recipe. One of them must be there, because base and stages are not one model.
    """

    url: str | None = Field(
        default=None, description="as in http://gpu-box:8000/v1; TEMPER_SERVER_URL of the environment when not given"
    )
    model: str = "{checkpoint}"
    start_s: float = Field(default=900, gt=0, description="until a launched server must be ready")

    @field_validator("model")
    @classmethod
    def _tells_checkpoints_apart(cls, model: str) -> str:
        if "{checkpoint}" not in model and "{name}" not in model:
            raise ValueError(
                "holds neither {checkpoint} nor {name}: every checkpoint would be scored by the answers of one model"
            )
        if "{" in model.replace("{checkpoint}", "").replace("{name}", ""):
            raise ValueError("knows the places {checkpoint} and {name} alone")
        return model
