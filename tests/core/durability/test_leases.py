"""Signs of life of the runs of a process."""

import multiprocessing
import threading
from contextlib import ExitStack

from flowctx.core.durability.leases import Leases

SOON = 0.005


class Renewals:
    """Counts calls, and lets a test wait for them."""

    def __init__(self, again=True):
        self.again, self.calls, self.threads, self.came = again, 0, set(), threading.Condition()

    def __call__(self):
        with self.came:
            self.calls += 1
            self.threads.add(threading.get_ident())
            self.came.notify_all()
        return self.again

    def wait_for(self, calls):
        with self.came:
            return self.came.wait_for(lambda: self.calls >= calls, timeout=30)


def test_a_lease_is_renewed_for_as_long_as_the_block_takes():
    """It is renewed again and again while the block runs, and no more after that."""
    leases, renewals, other = Leases(), Renewals(), Renewals()
    with leases.renewed(renewals, SOON):
        assert renewals.wait_for(3)
    at_the_end = renewals.calls
    with leases.renewed(other, SOON):
        assert other.wait_for(5)
    assert renewals.calls <= at_the_end + 1  # one was under way


def test_one_thread_renews_all_leases():
    """However many runs there are, one thread gives their signs of life, and none of this process's others."""
    leases, renewals = Leases(), [Renewals() for _ in range(20)]
    with ExitStack() as stack:
        for one in renewals:
            stack.enter_context(leases.renewed(one, SOON))
        assert all(one.wait_for(2) for one in renewals)
    threads = set.union(*(one.threads for one in renewals))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_a_short_lease_is_not_late_for_a_long_one():
    """A lease that is due in a moment is renewed then, also if the one before it is due in an hour."""
    leases, renewals = Leases(), Renewals()
    with leases.renewed(Renewals(), 3600), leases.renewed(renewals, SOON):
        assert renewals.wait_for(2)


def test_a_lease_that_is_lost_is_not_renewed_again():
    """What says that it is over is left alone, and the others go on."""
    leases, lost, held = Leases(), Renewals(again=False), Renewals()
    with leases.renewed(lost, SOON), leases.renewed(held, SOON):
        assert held.wait_for(5)
    assert lost.calls == 1


def test_a_renewal_that_breaks_takes_no_other_with_it():
    """What a renewal raises is logged; it and the others are renewed again."""
    leases, renewals, broken = Leases(), Renewals(), Renewals()

    def breaks():
        broken()
        raise RuntimeError("no")

    with leases.renewed(breaks, SOON), leases.renewed(renewals, SOON):
        assert broken.wait_for(3)
        assert renewals.wait_for(3)


def test_a_fork_renews_its_own_leases():
    """A forked process has a thread of its own, and none of its parent's leases."""
    leases, inherited = Leases(), Renewals()

    def child():
        renewals = Renewals()
        before = inherited.calls
        with leases.renewed(renewals, SOON):
            assert renewals.wait_for(3)
        assert inherited.calls == before

    with leases.renewed(inherited, SOON):
        assert inherited.wait_for(1)
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(60)
    assert process.exitcode == 0


def test_the_thread_ends_when_there_is_nothing_to_renew():
    """A process that runs nothing any more has no thread left, and a later run starts one."""
    leases = Leases()
    for _ in range(2):
        renewals = Renewals()
        with leases.renewed(renewals, SOON):
            assert renewals.wait_for(1)
        (ident,) = renewals.threads
        for thread in threading.enumerate():
            if thread.ident == ident:
                thread.join(30)
                assert not thread.is_alive()
