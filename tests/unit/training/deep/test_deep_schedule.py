"""Which blocks move when: whatever the epochs are, `gradual` goes from the top down and ends with all of them."""

from itertools import pairwise

import pytest

from adapters.recipe import Hyperparameters
from adapters.training.deep.fitting import schedule

BLOCKS, EPOCHS = range(1, 41), range(1, 41)


def moving(blocks: int, epochs: int, frozen: int = 0) -> list[int]:
    """How many blocks move in each epoch."""
    recipe = Hyperparameters(schedule="gradual", epochs=epochs, freeze_epochs=frozen)
    return [schedule.moving(recipe, epoch, blocks) for epoch in range(epochs)]


@pytest.mark.parametrize("frozen", [0, 1, 3])
def test_gradual_frees_every_block_before_the_last_third_and_none_again_held(frozen):
    """However few the epochs are that come after those of the head alone."""
    for blocks in BLOCKS:
        for epochs in EPOCHS:
            found = moving(blocks, epochs + frozen, frozen)
            assert found[:frozen] == [0] * frozen
            assert all(one <= other for one, other in pairwise(found)), (blocks, epochs)
            last = -(-epochs // 3)
            assert found[-last:] == [blocks] * last, (blocks, epochs)


def test_gradual_begins_with_the_head_alone_and_frees_in_every_epoch_until_all_move():
    """One more block an epoch where there are epochs enough (ULMFiT), else at least one."""
    for blocks in BLOCKS:
        for epochs in EPOCHS[1:]:
            found = moving(blocks, epochs)
            freed = [other - one for one, other in pairwise(found) if one < blocks]
            assert found[0] == 0 and min(freed) >= 1, (blocks, epochs)
            assert max(freed) == 1 or blocks > epochs * 2 // 3, (blocks, epochs)


@pytest.mark.parametrize(
    ("blocks", "epochs", "found"),
    [(4, 9, [0, 1, 2, 3, 4, 4, 4, 4, 4]), (9, 8, [0, 1, 3, 5, 7, 9, 9, 9]), (18, 8, [0, 3, 7, 10, 14, 18, 18, 18]),
     (3, 2, [0, 3]), (9, 1, [9])],
)  # fmt: skip
def test_a_single_epoch_moves_all_and_few_free_several_at_a_time(blocks, epochs, found):
    """What would never be freed would be published as trained."""
    assert moving(blocks, epochs) == found
