from __future__ import annotations

from rcc_integrations.routing.passage import Passage
from rcc_integrations.routing.spans import Span, find_span, find_spans


def test_the_best_place_is_named():
    passages = [
        Passage("a", 10, "A willow by the gate."),
        Passage("b", 0, "will, willow", 2.0),
        Passage("c", 5, "willow"),
    ]
    assert find_span("willow", passages) == Span("b", 6, 12)
    assert find_span("will", passages) == Span("b", 0, 4)
    assert find_span("low", passages) == Span("b", 9, 12)
    assert find_span("gate", passages) == Span("a", 26, 30)
    assert find_span("oak", passages) is None and find_span("", passages) is None


def test_a_list_is_told_apart_item_by_item():
    passages = [Passage("a", 10, "Bread, butter and jam. Salt"), Passage("b", 0, "and oil; tea")]
    assert find_spans("butter and jam", passages) == (Span("a", 17, 31),)
    assert find_spans("jam and Bread, butter", passages) == (Span("a", 28, 31), Span("a", 10, 23))
    assert find_spans("Salt, and oil and tea", passages) == (Span("a", 33, 37), Span("b", 0, 7), Span("b", 9, 12))
    assert find_spans("Salt, pepper", passages) == find_spans("", passages) == find_spans("Salt, ", passages) == ()
    assert find_spans(" and ".join(["tea"] * 8), passages) == (Span("b", 9, 12),) * 8
    assert find_spans(" and ".join(["tea"] * 9), passages) == ()
