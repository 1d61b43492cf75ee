"""What a user sees and can stop while a training runs: progress bar, interrupts.

In: the numbers of each epoch; steps that are done; Ctrl-C.
Out: a bar on the terminal; an interrupt that is raised between two steps.
Guarantees: nothing is printed where there is no terminal (unless asked); a second Ctrl-C is raised
at once.
"""

from __future__ import annotations

# `signal` wraps these functions to turn numbers into enums and back, which takes longer than all
# else that a short step does besides computing.
import _signal  # type: ignore[import-not-found]
import threading
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Progress", "interrupts_held"]


class Progress:
    """A progress bar over the steps of all epochs, with the last epoch's numbers beside it.

    In: how many epochs, how many steps each has (None where nobody knows), whether it is shown (on
    a terminal where not said).
    """

    def __init__(self, epochs: int, steps: int | None, shown: bool | None = None) -> None:
        self._epochs, self._steps, self._shown = epochs, steps, shown
        self._bar: Any = None
        self._task: Any = None
        self._epoch = 0

    def __enter__(self) -> Progress:
        if self._shown is not False:
            from rich.console import Console

            console = Console(stderr=True)
            if self._shown or console.is_terminal or console.is_jupyter:
                self._start(console)
        return self

    def _start(self, console: Any) -> None:
        from rich import progress

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[numbers]}", markup=False),
            console=console,
        )
        self._bar.start()
        total = None if self._steps is None else self._epochs * self._steps
        self._task = self._bar.add_task(f"epoch 0/{self._epochs}", total=total, numbers="")

    def advance(self, steps: int = 1) -> None:
        """So many steps are done."""
        if self._bar is not None:
            self._bar.advance(self._task, steps)

    def epoch(self, entry: Mapping[str, float]) -> None:
        """One epoch is done."""
        self._epoch += 1
        if self._bar is not None:
            numbers = "  ".join(f"{name} {value:.4f}" for name, value in entry.items())
            self._bar.update(
                self._task, description=f"epoch {self._epoch}/{self._epochs}", numbers=numbers
            )

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


class interrupts_held:  # noqa: N801, a context manager reads as a verb
    """Hold back Ctrl-C inside the block, so that a step is finished before it is raised.

    It is raised by `raise_pending` or at the end of the block. Outside the main thread, and where
    the program has its own handler or none, nothing is changed.
    """

    def __init__(self) -> None:
        self._pending = False
        self._previous: Any = None

    def __enter__(self) -> interrupts_held:
        if (
            threading.current_thread() is threading.main_thread()
            and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
        ):
            self._previous = _signal.signal(_signal.SIGINT, self._hold)
        return self

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._pending:
            _signal.default_int_handler(number, frame)
        self._pending = True

    def raise_pending(self) -> None:
        """Raise the interrupt that came, if one did."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._previous is not None:
            _signal.signal(_signal.SIGINT, self._previous)
        if kind is None:
            self.raise_pending()
