"""Settings of the captioning steps."""

from typing import Literal

from pydantic import Field, SecretStr

from kale_tasks.settings.section import Section, runtime


class Endpoints(Section):
    """Base URLs of OpenAI-compatible servers, such as http://host:8000/v1; several share the load."""

    dense: list[str] = runtime("Servers of the captioner.")
    fuse: list[str] = runtime("Servers of the fuser.")
    student: list[str] = runtime("Servers of the student.")
    api_key: SecretStr | None = runtime("Bearer token for all of them, if they ask for one.")


class Caption(Section):
    """How captions are made; what is asked of which model stands in the recipe."""

    recipe: str = Field(description="Name of a recipe in config/recipes, or the path of a YAML file.")
    engine: Literal["transformers", "vllm", "openai"] = Field(description="What runs the models.")
    device: str = runtime("Device of the transformers engine: auto, cpu, cuda, cuda:1, mps.")
    batch: int = runtime("Sequences that one device generates at once; halved when its memory runs out.", ge=1)
    in_flight: int = runtime("Requests handed to the engine at once; two to four batches keep it busy.", ge=1)
    timeout_s: float = runtime("Seconds after which a request is given up.", gt=0)
    tries: int = runtime("Times a request is sent when a server fails or is busy.", ge=1)
    recycle: int = runtime("Requests after which an engine is started anew, which bounds its memory; 0: never.", ge=0)
    vllm_python: str = runtime("Interpreter that has vLLM; empty: this one.")
    vllm_memory: float = runtime("Share of the device's memory that vLLM may take.", gt=0, le=1)
    preparers: int = runtime("Threads that decode and prepare images for vLLM.", ge=1)
    endpoints: Endpoints
    device_hour_price: float = runtime("Price of one device for an hour, for the cost in the ledger.", ge=0)
