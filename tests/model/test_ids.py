"""Handles: their form, their order, that they never collide within a process, and how prefixes work."""

from __future__ import annotations

import hmac
import os
import signal
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmemo import ids

START = 1_750_000_000_000_000


@given(st.integers(0, (1 << 48) * 1000 - 1), st.sampled_from(["run", "evt", "hof", "esc"]))
def test_a_handle_has_its_form(now, prefix):
    handle = ids.mint(prefix, now)
    assert ids.is_handle(handle)
    assert ids.is_handle(handle, prefix)
    assert not ids.is_handle(handle, "xyz")
    assert len(handle) == 20


@given(st.lists(st.integers(0, (1 << 48) - 1), min_size=2, max_size=20, unique=True))
def test_handles_sort_by_time(milliseconds):
    handles = [ids.mint("run", ms * 1000) for ms in sorted(milliseconds)]
    assert handles == sorted(handles)


def test_handles_of_one_moment_are_unique_and_ascend_but_for_the_wrap():
    handles = [ids.mint("run", START) for _ in range(20_000)]
    assert len(set(handles)) == 20_000
    assert sum(a > b for a, b in pairwise(handles)) <= 1


def test_threads_never_get_the_same_handle():
    found = []

    def work():
        found.extend(ids.mint("run", START + 7_000_000) for _ in range(2000))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8000


def test_a_clock_that_goes_back_and_forth_repeats_no_handle():
    handles = [ids.mint("run", START + (number % 2) * 1000) for number in range(2000)]
    assert len(set(handles)) == 2000


@pytest.mark.parametrize(
    "text",
    ["", "run_", "run_0123456789abcde", "run_0123456789abcdefg", "run_0123456789abcdei", "run_0123456789abcdel",
     "run_0123456789abcdeu", "run_0123456789ABCDEF", "RUN_0123456789abcdef", "ru_0123456789abcdef",
     "run-0123456789abcdef", "run_0123456789abcdef\n", " run_0123456789abcdef"],
)  # fmt: skip
def test_what_is_no_handle(text):
    assert not ids.is_handle(text)


def test_the_alphabet_is_crockfords():
    assert len(ids.ALPHABET) == 32
    assert set("ilou") & set(ids.ALPHABET) == set()
    assert "".join(sorted(ids.ALPHABET)) == ids.ALPHABET
    assert ids.SHORTEST_PREFIX == 6


def test_secrets():
    assert len(ids.salt()) == 32
    assert ids.salt() != ids.salt()
    assert len(ids.random_bytes(8)) == 8
    assert len({ids.salt() for _ in range(3 * ids.SALTS_DRAWN)}) == 3 * ids.SALTS_DRAWN
    assert ids.keyed_hash(b"k", b"c") != ids.keyed_hash(b"j", b"c")
    assert ids.same_bytes(b"a", b"a")
    assert not ids.same_bytes(b"a", b"b")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_keyed_hash_is_hmac_sha256(key, content):
    assert ids.keyed_hash(key, content) == hmac.digest(key, content, "sha256")


def test_a_forked_process_draws_salts_of_its_own():
    read, write = os.pipe()
    ids.salt()  # there are some that both could draw
    child = os.fork()
    if child == 0:
        os.write(write, ids.salt())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, ids.SALT_BYTES) not in {ids.salt() for _ in range(ids.SALTS_DRAWN)}
    os.close(read)
    os.close(write)


def test_a_forked_process_makes_handles_of_its_own_whatever_its_parent_was_doing():
    read, write = os.pipe()
    ids.mint("run", START)
    with ids._lock:  # as where another thread is making one
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os.write(write, ids.mint("run", START).encode())
            os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
    made = os.read(read, 64).decode()
    os.close(read)
    assert ids.is_handle(made)
    assert made != ids.mint("run", START)
