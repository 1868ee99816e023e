"""Charts: one SVG each, drawn without a network, from records that are all kept."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from fedcrm.evaluation.charts import DARK, auc_by_organisation, budget_by_organisation, dark_rules, stacked_bars, to_svg

NAMES = ["Alder & Co", "Birch <x>", "Cedar"]
AUC = [
    {"organisation": name, "model": model, "auc": 0.6 + at / 20, "low": 0.55 + at / 20, "high": 0.65 + at / 20}
    for name in NAMES
    for at, model in enumerate(("local", "centralised", "federated"))
]
BUDGET = [{"organisation": name, "budget": 4.0, "spent": 1.0 + at} for at, name in enumerate(NAMES)]
BARS = [{"table": t, "part": p, "amount": 1.5, "rank": r} for t in NAMES for r, p in enumerate(("learning", "crypto"))]

CHARTS = {
    "auc": (AUC, lambda width: auc_by_organisation(AUC, NAMES, width=width)),
    "budget": (BUDGET, lambda width: budget_by_organisation(BUDGET, NAMES, width=width)),
    "bars": (BARS, lambda width: stacked_bars(BARS, NAMES, parts=["learning", "crypto"], title="s", width=width)),
}
every_chart = pytest.mark.parametrize("name", CHARTS)


def _record_lists(specification: object) -> list[list[dict]]:
    """Every list of data records in a specification."""
    if isinstance(specification, dict):
        data = specification.get("data")
        here = [data["values"]] if isinstance(data, dict) and "values" in data else []
        named = list(specification.get("datasets", {}).values())
        return here + named + [found for value in specification.values() for found in _record_lists(value)]
    if isinstance(specification, list):
        return [found for value in specification for found in _record_lists(value)]
    return []


@every_chart
def test_every_record_is_in_the_specification(name):
    """What is drawn is the records given, none dropped and none changed."""
    records, draw = CHARTS[name]
    kept = _record_lists(draw(640).to_dict())
    assert kept and all(found == records for found in kept)


@pytest.mark.parametrize("width", [320, 760])
@every_chart
def test_an_svg_comes_out_that_asks_for_nothing(name, width):
    """Well-formed, with a description, as wide as its place, naming every organisation, without links."""
    svg = to_svg(CHARTS[name][1](width), title='What "<federation>" & more changes')
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and root.get("role") == "img"
    assert root.get("aria-label") == 'What "<federation>" & more changes'
    assert root.get("width") is None and root.get("height") is None and root.get("viewBox")
    text = "".join(root.itertext())
    assert all(organisation in text for organisation in NAMES)
    assert "href" not in svg and "<script" not in svg and not re.search(r"url\((?!['\"]?#)", svg)


def test_a_figure_that_is_not_defined_leaves_a_gap():
    """Null AUC draws one point less, and the organisation keeps its row."""
    gap = [{**AUC[0], "auc": None, "low": None, "high": None}, *AUC[1:]]
    whole, holed = (to_svg(auc_by_organisation(records, NAMES, width=640), title="t") for records in (AUC, gap))
    assert holed.count('aria-roledescription="point"') < whole.count('aria-roledescription="point"')
    assert "Alder" in holed


def test_every_colour_has_its_dark_counterpart():
    """Fill and stroke of each palette colour turn; no colour is left as it is."""
    rules = dark_rules()
    for light, dark in DARK.items():
        assert light != dark
        assert f'svg [fill="{light}"]{{fill:{dark}}}' in rules and f'svg [stroke="{light}"]{{stroke:{dark}}}' in rules


def test_drawings_on_one_page_share_no_ids():
    """Ids inside an SVG (clip paths) are found in no other drawing, so that none clips another."""
    draw = CHARTS["budget"][1]
    first, second = (set(re.findall(r'\bid="([^"]+)"', to_svg(draw(640), title="t"))) for _ in range(2))
    assert first and second and not first & second
