"""Deep heads in `predict`: what they say is what their tail says of the trunk, whoever else is asked in the request."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.deep import TinyCut
from support.served_deep import BYTES, CLASSES, FLOAT, Served, picture

from adapters.errors import BackboneDamaged, HeadDamaged, InvalidImage, Overloaded
from adapters.modalities.image import decode
from adapters.runtime.onnx import session
from adapters.store import heads
from adapters.types import HeadRef

IMAGES = [picture(seed) for seed in range(3)]
SHALLOW, DEEP, OF_BYTES = ([f"{stem}-{n}" for n in range(3)] for stem in ("shallow", "deep", "bytes"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served")).fill()
    yield made
    made.close()


@pytest.fixture
def served(filled: Served) -> Served:
    filled.counted.clear()
    return filled


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path, memory=1 << 20).fill()
    yield made
    made.close()


def by_hand(served: Served, head: str, cut: TinyCut, image: bytes) -> np.ndarray:
    """Probabilities f32 [K] of the tail, run on what the trunk told."""
    pixels = decode(image, served.base.spec, most=10**6)["pixels"][None]
    (tap,) = session.create(cut.trunk()).run(["tap"], {"pixels": pixels})
    graph = heads.stored(served.artifacts, heads.resolve(served.engine, HeadRef(head)))
    return session.create(graph).run(["probabilities"], {"tap": tap})[0][0]


def numbers(answer: dict[str, Any]) -> dict[str, float]:
    return {top["label"]: top["score"] for top in answer["top"]}


def one_by_one(served: Served, names: list[str], images: list[bytes]) -> list[tuple[int, str, dict]]:
    """A request for each head, in the order of one for all."""
    rows = zip(*(served([name], images) for name in names), strict=True)
    return [said for row in rows for said in row]


@pytest.mark.parametrize(("names", "cut"), [(DEEP, FLOAT), (OF_BYTES, BYTES)])
def test_a_deep_head_says_what_its_tail_says_of_the_trunk(served, names, cut):
    """Bit for bit, alone and beside others."""
    for name, image in itertools.product(names, IMAGES):
        wanted = dict(zip(CLASSES, by_hand(served, name, cut, image).tolist(), strict=True))
        assert numbers(served([name], [image])[0][2]) == wanted
        assert numbers(served([*SHALLOW, name], [image])[-1][2]) == wanted


@pytest.mark.parametrize("order", [DEEP + SHALLOW, SHALLOW + DEEP, ["deep-0", "shallow-0", "bytes-1", "shallow-2"]])
def test_heads_of_one_request_answer_as_they_do_alone(served, order):
    assert served(order, IMAGES) == one_by_one(served, order, IMAGES)


def test_each_deep_head_has_answers_of_its_own(served):
    """The tests above would pass if all said the same."""
    assert len({str(answer) for *_, answer in served([*DEEP, *OF_BYTES, *SHALLOW], IMAGES[:1])}) == 9


@pytest.mark.parametrize(
    ("names", "passes", "tails"),
    [(SHALLOW, 1, 0), (DEEP, 1, 3), (DEEP + SHALLOW, 1, 3), (DEEP + OF_BYTES, 2, 6), (DEEP + OF_BYTES + SHALLOW, 2, 6)],
)
def test_an_input_passes_the_backbone_once_for_each_cut(served, names, passes, tails):
    """Beside shallow heads the embedding comes with the tap."""
    served(names, IMAGES[:1])
    assert (served.counted["passes"], served.counted["tails"]) == (passes, tails)


def test_many_inputs_are_asked_a_few_at_a_time(served):
    images = [picture(seed) for seed in range(100, 121)]
    found = served(["bytes-0", "shallow-0"], images)
    assert served.counted["tails"] == 6  # a quarter of the work each: four at a time
    for index, name, answer in found[-6:]:
        wanted = numbers(served([name], [images[index]])[0][2])
        assert numbers(answer) == pytest.approx(wanted, rel=1e-5)


def test_what_a_bad_image_leaves_keeps_its_place(served):
    found = asyncio.run(served.ask(["deep-0", "shallow-0"], [b"bad", IMAGES[0], b"worse"], on_error="skip"))
    assert [error.index for error in found.errors] == [0, 2]
    wanted = [(1, name, answer) for _, name, answer in served(["deep-0", "shallow-0"], IMAGES[:1])]
    assert [(p.index, p.head.version.head, p.answer) for p in found.predictions] == wanted
    none = asyncio.run(served.ask(["deep-0", "shallow-0"], [b"bad"], on_error="skip"))
    assert (none.predictions, len(none.errors)) == ([], 1)
    with pytest.raises(InvalidImage):
        served(["deep-0", "shallow-0"], [b"bad"])


def test_requests_at_the_same_time_are_told_of_their_own_images(served):
    kinds = [["deep-0"], ["shallow-0"], ["deep-1", "shallow-1"], ["bytes-0", "shallow-0", "deep-2"]]
    asked = [(names, [image]) for names in kinds for image in IMAGES] * 3
    wanted = [served(names, images) for names, images in asked]

    async def main() -> list[Any]:
        return await asyncio.gather(*(served.ask(names, images) for names, images in asked))

    found = [[(p.index, p.head.version.head, p.answer) for p in f.predictions] for f in asyncio.run(main())]
    assert found == wanted


def test_admission_counts_the_work_of_tails(served):
    """Half of a backbone's each: three of them are worth more than one input."""
    served(DEEP, IMAGES[:1])
    seen: list[float] = []

    async def main() -> None:
        asked = asyncio.ensure_future(served.ask(DEEP, IMAGES[:1]))
        await asyncio.sleep(0)
        seen.append(served.predictor.traffic.admission.load)
        await asked

    asyncio.run(main())
    assert seen == [2.5] and not served.predictor.traffic.admission.load


# Remembered


def test_what_a_pass_told_is_remembered_part_by_part(own):
    first = own(["deep-0", "shallow-0"], IMAGES[:1])
    assert own.counted["passes"] == 1
    assert own(["deep-0"], IMAGES[:1]) + own(["shallow-0"], IMAGES[:1]) == first
    assert own(["deep-0", "shallow-0"], IMAGES[:1]) == first
    assert (own.counted["passes"], own.counted["hits"]) == (1, 3)
    own(["bytes-0"], IMAGES[:1])
    assert own.counted["passes"] == 2


# Damage


def test_a_damaged_deep_head_fails_alone(own):
    own.spoil(heads.resolve(own.engine, HeadRef("deep-1")).digest)
    found = asyncio.run(own.ask(["deep-0", "deep-1", "shallow-0"], IMAGES))
    assert [(e.head, e.code) for e in found.head_errors] == [("deep-1", "head_damaged")]
    assert {p.head.version.head for p in found.predictions} == {"deep-0", "shallow-0"}
    with pytest.raises(HeadDamaged):
        own(["deep-1"], IMAGES)


def test_a_damaged_trunk_fails_the_deep_heads_that_read_it(own):
    """Asked beside a shallow head they read what the whole told."""
    wanted = own(["deep-0", "shallow-0"], IMAGES)
    again = Served(own.folder)
    own.spoil(heads.resolve(own.engine, HeadRef("deep-0")).manifest["deep"]["trunk"])
    with pytest.raises(BackboneDamaged, match="espalier check"):
        again(["deep-0"], IMAGES)
    assert again(["deep-0", "shallow-0"], IMAGES) == wanted
    again.close()


def test_a_damaged_whole_costs_a_pass_and_no_answer(own):
    wanted = own(["deep-0", "shallow-0"], IMAGES[:1])
    again = Served(own.folder)
    own.spoil(heads.resolve(own.engine, HeadRef("deep-0")).manifest["deep"]["whole"])
    assert again(["deep-0", "shallow-0"], IMAGES[:1]) == wanted
    assert again.counted["passes"] == 2
    again.close()


def test_a_damaged_trunk_beside_heads_of_another_cut(own):
    own.spoil(heads.resolve(own.engine, HeadRef("deep-0")).manifest["deep"]["trunk"])
    found = asyncio.run(own.ask(["deep-0", "bytes-0"], IMAGES))
    assert [(e.head, e.code) for e in found.head_errors] == [("deep-0", "backbone_damaged")]
    assert {p.head.version.head for p in found.predictions} == {"bytes-0"}


# In time


def test_tails_that_nobody_waits_for_are_not_run(tmp_path: Path):
    """One lane, which is held while the request is given up."""
    served = Served(tmp_path, lanes=1).fill()
    served(DEEP, IMAGES[:1])
    served.counted.clear()
    gate, reached = threading.Event(), threading.Event()
    head = served.predictor.live.get(HeadRef("deep-0")).head
    answer = head.answer

    def held(taps: Any) -> Any:
        reached.set()
        gate.wait(30)
        return answer(taps)

    async def main() -> None:
        asked = asyncio.ensure_future(served.ask(DEEP, IMAGES[:1]))
        await asyncio.to_thread(reached.wait, 30)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        gate.set()

    head.answer = held
    asyncio.run(main())
    served.close()  # waits for what runs
    assert served.counted["tails"] == 2, "two halves of an input's work are one turn, and the third is none"


def test_deep_heads_of_a_request_run_side_by_side(tmp_path: Path):
    """Each waits in its lane for the other."""
    served = Served(tmp_path, lanes=2).fill()
    served(DEEP, IMAGES[:1])
    both = threading.Barrier(2, timeout=30)
    for name in DEEP[:2]:
        head = served.predictor.live.get(HeadRef(name)).head
        head.answer = lambda taps, answer=head.answer: (both.wait(), answer(taps))[1]
    assert len(served(DEEP[:2], IMAGES[:1])) == 2
    served.close()


def test_shallow_becomes_deep_and_back_under_load(tmp_path: Path):
    """No request fails, and none is answered by two versions."""
    served = Served(tmp_path)
    served.shallow("cats", 1)
    seen: set[int] = set()

    async def asking(stop: asyncio.Event) -> int:
        count = 0
        while not stop.is_set():
            found = await served.ask(["cats", "cats"], IMAGES)
            versions = {p.head.version.number for p in found.predictions}
            assert len(versions) == 1 and len(found.predictions) == 6
            seen.update(versions)
            count += 1
        return count

    async def main() -> None:
        stop = asyncio.Event()
        loops = [asyncio.ensure_future(asking(stop)) for _ in range(4)]
        for n in range(2, 6):
            await asyncio.to_thread(served.deep if n % 2 == 0 else served.shallow, "cats", n)
            await asyncio.to_thread(served.predictor.live.refresh)
            while n not in seen and not any(loop.done() for loop in loops):
                await asyncio.sleep(0.005)
        stop.set()
        await asyncio.gather(*loops)

    asyncio.run(main())
    served.close()
    assert seen >= {2, 3, 4, 5}


# In memory


def test_deep_heads_have_their_size_in_the_cache(tmp_path: Path):
    """And go when there is no room, the one that was not asked for longest first."""
    served = Served(tmp_path).fill()
    served(["deep-0", "shallow-0"], IMAGES[:1])
    live = served.predictor.live
    deep = live.get(HeadRef("deep-0")).head
    assert deep.bytes >= len(served.artifacts.get(live.get(HeadRef("deep-0")).version.digest))
    assert live.loaded()[1] == deep.bytes + live.get(HeadRef("shallow-0")).head.bytes
    live._max_bytes = int(2.5 * deep.bytes)
    for name in DEEP:
        served([name], IMAGES[:1])
    assert live.evictions == 2 and live.peek(HeadRef("deep-0")) is None and live.peek(HeadRef("deep-2")) is not None
    served.close()


def test_too_many_deep_heads_for_the_time_there_is_are_refused(served):
    """As estimated by what inputs took."""
    served.predictor.traffic.lanes.took(1000.0)
    with pytest.raises(Overloaded):

        async def main() -> None:
            await asyncio.gather(*(served.ask([name], IMAGES, timeout=1.0) for name in DEEP))

        asyncio.run(main())
    served.predictor.traffic.lanes._seconds = 0.0
