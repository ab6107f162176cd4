"""Big-integer work on every core: in threads, or in processes where that pays.

gmpy2 lets go of the interpreter in every operation. Long powers run twice as fast on
two threads; the many short products of a multi-exponentiation only 1.3 times, and 1.9
times in two processes. Those take two seconds to start: they are for large rounds.
"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from multiprocessing import get_context, parent_process
from typing import TypeVar

import gmpy2

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> list[Result]:
    """Apply a function to every item in threads, in order of the items."""
    return list(_threads().map(function, items))


def in_background(function: Callable[[], Result]) -> Future[Result]:
    """Start a function in one of these threads."""
    return _threads().submit(function)


def process_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, at_once: int
) -> list[Result]:
    """Apply a function to every item in processes, in order of the items.

    Args:
        function: Can be pickled, like items and results.
        items: What it is applied to.
        at_once: Items that are sent to a process together.
    """
    return list(_processes().map(function, items, chunksize=at_once))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(
        max_workers=usable_cores(),
        thread_name_prefix="crypto",
        initializer=_release_interpreter,
    )


@cache
def _processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=usable_cores(),
        mp_context=get_context("spawn"),  # a fork would copy locks of other threads
        initializer=_end_with_parent,
    )


def usable_cores() -> int:
    """Count this machine's cores, or those of the container this is in."""
    if hasattr(os, "sched_getaffinity"):  # a container may have fewer than the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# A forked child has the record of a pool's threads and processes, but not them.
os.register_at_fork(after_in_child=_threads.cache_clear)
os.register_at_fork(after_in_child=_processes.cache_clear)


def _release_interpreter() -> None:
    gmpy2.get_context().allow_release_gil = True  # per thread


def _end_with_parent() -> None:
    """End this process when its parent is gone, however that ended."""
    parent = parent_process()
    if parent is not None:
        watch = threading.Thread(
            target=_wait_and_exit, args=(parent.join,), daemon=True
        )
        watch.start()


def _wait_and_exit(wait: Callable[[], None]) -> None:
    wait()
    os._exit(0)
