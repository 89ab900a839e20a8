"""What a model call needs of the stored images."""

from kale_tasks.errors import BadConfig
from kale_tasks.recipes.parts import Task
from kale_tasks.settings import Settings


def check_stored_size(settings: Settings, task: Task, what: str) -> None:
    """Raise BadConfig if a model call asks for larger images than are stored. `what` names it in the message."""
    decode = settings.images.decode
    if decode.resize == "longer" and not decode.originals and task.image_side > decode.max_side:
        raise BadConfig(
            f"{what} asks for images of {task.image_side} pixels, but images are stored with {decode.max_side}. Raise "
            f"images.decode.max_side and run images again, or lower image_side."
        )
