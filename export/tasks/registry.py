"""All tasks, by name."""

from unpickled.export.tasks.classification import CLASSIFICATION
from unpickled.export.tasks.regression import REGRESSION
from unpickled.export.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFICATION, REGRESSION)}
