"""Cells remember what they held, so that branches can be run one after another."""

from tcstatic.program.paths.store import Cells
from tcstatic.program.paths.values import Const, Phi

ONE, TWO = Const(1), Const(2)


def test_undo_gives_back_what_was_there_and_tells_what_is_undone() -> None:
    cells = Cells()
    cells.set((1, "a"), ONE)
    mark = cells.mark()
    cells.set((1, "a"), TWO)
    cells.set((1, "b"), TWO)

    assert cells.undo(mark) == {(1, "a"): TWO, (1, "b"): TWO}
    assert cells.get((1, "a")) is ONE
    assert cells.get((1, "b")) is None


def test_branches_that_agree_leave_one_value() -> None:
    cells = Cells()
    cells.merge([{(1, "a"): ONE}, {(1, "a"): Const(1)}])

    assert cells.get((1, "a")) is ONE


def test_branches_that_differ_leave_a_choice_that_knows_its_condition() -> None:
    cells = Cells()
    cells.merge([{(1, "a"): ONE}, {(1, "a"): TWO}], ("flag", 7))
    value = cells.get((1, "a"))

    assert isinstance(value, Phi)
    assert value.options == [ONE, TWO]
    assert value.ways == ("flag", 7, (ONE, TWO))


def test_a_branch_that_does_not_write_keeps_the_old_value_as_an_option() -> None:
    cells = Cells()
    cells.set((1, "a"), ONE)
    cells.merge([{(1, "a"): TWO}, {}])
    value = cells.get((1, "a"))

    assert isinstance(value, Phi)
    assert value.options == [TWO, ONE]
