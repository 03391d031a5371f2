"""A question that brings its own instruction, as a task of its own."""

from __future__ import annotations

from ofa_mi.instances.instance import Instance
from ofa_mi.instructions.spec import TaskSpec, split_template

NAME = "your instruction"


def own_task(instruction: str, instance: Instance, output: str = "text") -> TaskSpec:
    """The task whose only instruction is ``instruction``; regions and then options that it does not mention follow it.

    Args:
        instruction: A template.
        instance: The question's inputs.
        output: Kind of the answer, as ``TaskSpec.output``.

    Raises:
        ConfigError: The template has an unknown placeholder or a stray brace.
    """
    used = set(split_template(instruction)[1::2])
    if instance.regions and not any(name.startswith("region") for name in used):
        instruction, used = f"{instruction} {{regions}}", used | {"regions"}
    if instance.options and "options" not in used:
        instruction, used = f"{instruction} {{options}}", used | {"options"}
    return TaskSpec(
        name=NAME,
        group=NAME,
        split="eval",
        sources=(),
        release=None,
        inputs=tuple(sorted(used)),
        output=output,
        metrics=(),
        version=1,
        instructions=(instruction,),
        benchmark=False,
        description="A question with an instruction of its own.",
    )
