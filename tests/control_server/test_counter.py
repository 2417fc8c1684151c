"""Session numbers under concurrency and damage."""

import multiprocessing
from pathlib import Path

from control_server.session.counter import COUNTER_NAME, session_numbers, take_number


def test_twenty_processes_get_twenty_numbers(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    results = fork.SimpleQueue()

    def take() -> None:
        results.put([take_number(tmp_path) for _ in range(3)])

    processes = [fork.Process(target=take) for _ in range(20)]
    for process in processes:
        process.start()
    numbers = [number for _ in processes for number in results.get()]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(numbers) == list(range(1, 61))
    assert session_numbers(tmp_path) == list(range(1, 61))


def test_numbers_are_never_reused(tmp_path: Path) -> None:
    assert [take_number(tmp_path) for _ in range(3)] == [1, 2, 3]
    (tmp_path / "000003").rmdir()
    assert take_number(tmp_path) == 4


def test_lost_or_damaged_counter_cannot_repeat_a_number(tmp_path: Path) -> None:
    for _ in range(5):
        take_number(tmp_path)
    (tmp_path / COUNTER_NAME).unlink()
    assert take_number(tmp_path) == 6
    (tmp_path / COUNTER_NAME).write_text("not a number")
    assert take_number(tmp_path) == 7


def test_other_names_are_no_sessions(tmp_path: Path) -> None:
    for name in ("000002", "lost+found", "notes", "²"):
        (tmp_path / name).mkdir()
    assert session_numbers(tmp_path) == [2]
