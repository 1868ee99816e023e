"""Charts as records plus a specification, drawn to SVG without a browser or a network.

Colours are a small fixed palette; `DARK` says what each becomes on a dark page, so that one drawing serves both. Every
mark differs in shape as well as colour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

import altair as alt
import vl_convert

Records = Sequence[Mapping[str, str | float | None]]

INK, QUIET, LINE = "#1c2024", "#6a7078", "#d9dce0"
LOCAL, CENTRALISED, FEDERATED = "#b3722e", "#2b3036", "#0b8296"
LIGHT_FEDERATED = "#b9dde3"
DARK: Mapping[str, str] = {
    INK: "#e8eaed",
    QUIET: "#9aa1ab",
    LINE: "#363b42",
    LOCAL: "#e0a45e",
    CENTRALISED: "#d3d8df",
    FEDERATED: "#4cc3d6",
    LIGHT_FEDERATED: "#1f4a52",
}
"""What each colour of the palette becomes on a dark page."""

FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
_NARROW = 420
Chart: TypeAlias = alt.TopLevelMixin
"""A specification, of one layer or several."""


def auc_by_organisation(records: Records, order: Sequence[str], *, width: int) -> Chart:
    """AUC of each organisation under three models, with intervals.

    Args:
        records: {organisation, model, auc, low, high}; model is local, centralised or federated; null leaves a gap.
        order: Organisations from top to bottom.
        width: Pixels of the whole drawing.
    """
    models = ["local", "centralised", "federated"]
    hue = alt.Scale(domain=models, range=[LOCAL, CENTRALISED, FEDERATED])
    base = alt.Chart(_data(records)).encode(
        y=alt.Y("organisation:N", sort=list(order), title=None, scale=alt.Scale(paddingInner=0.35)),
        yOffset=alt.YOffset("model:N", sort=models),
        color=alt.Color("model:N", scale=hue, legend=_legend()),
    )
    bars = base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(
        x=alt.X("low:Q", title="AUC on held-out rows", scale=alt.Scale(zero=False, nice=True)), x2="high:Q"
    )
    shapes = alt.Scale(domain=models, range=["circle", "diamond", "circle"])
    points = base.mark_point(size=54, filled=True, opacity=1).encode(
        x="auc:Q",
        shape=alt.Shape("model:N", scale=shapes, legend=_legend()),
    )
    return _sized(alt.layer(bars, points), width, 38 * len(order))


def budget_by_organisation(records: Records, order: Sequence[str], *, width: int) -> Chart:
    """Privacy budget and what was spent of it, {organisation, budget, spent}, in ε."""
    base = alt.Chart(_data(records)).encode(y=alt.Y("organisation:N", sort=list(order), title=None))
    allowed = base.mark_bar(height=12, color=LIGHT_FEDERATED, cornerRadius=2).encode(
        x=alt.X("budget:Q", title="ε: budget (pale) and spent", scale=alt.Scale(zero=True))
    )
    spent = base.mark_bar(height=5, color=FEDERATED, cornerRadius=1).encode(x="spent:Q")
    return _sized(alt.layer(allowed, spent), width, 22 * len(order))


def stacked_bars(records: Records, order: Sequence[str], *, parts: Sequence[str], title: str, width: int) -> Chart:
    """One bar per table from {table, part, amount}, its parts in the order given."""
    hue = alt.Scale(domain=list(parts), range=[FEDERATED, LOCAL, LINE][: len(parts)])
    chart = (
        alt.Chart(_data(records))
        .mark_bar(height=12)
        .encode(
            y=alt.Y("table:N", sort=list(order), title=None),
            x=alt.X("amount:Q", title=title),
            color=alt.Color("part:N", scale=hue, legend=_legend() if len(parts) > 1 else None),
            order=alt.Order("rank:Q"),
        )
    )
    return _sized(chart, width, 26 * len(order))


def to_svg(chart: Chart, *, title: str) -> str:
    """The drawing as an SVG element that scales with its place and is described to those who cannot see it."""
    drawn: str = vl_convert.vegalite_to_svg(chart.to_dict())
    start = drawn.index("<svg")
    size = re.search(r'viewBox="0 0 ([\d.]+) [\d.]+"', drawn)
    width = size.group(1) if size else "640"
    head = f'<svg role="img" aria-label="{escape(title, quote=True)}" style="max-width:{width}px"'
    body = re.sub(r'(<svg[^>]*?) width="[\d.]+" height="[\d.]+"', r"\1", drawn[start:], count=1)
    return head + body[len("<svg") :]


def dark_rules() -> str:
    """CSS that turns the palette to its dark colours inside `svg`."""
    return "\n".join(
        f'svg [{attribute}="{light}"]{{{attribute}:{dark}}}'
        for light, dark in DARK.items()
        for attribute in ("fill", "stroke")
    )


def _data(records: Records) -> alt.InlineData:
    return alt.InlineData(values=[dict(record) for record in records])


def _legend() -> alt.Legend:
    return alt.Legend(title=None, orient="top", direction="horizontal", symbolSize=70, columnPadding=12)


def _sized(chart: Any, width: int, height: int) -> Chart:  # noqa: ANN401 (altair has no name for what can be configured)
    narrow = width < _NARROW
    labels = 112 if narrow else 180
    sized: Chart = (
        chart.properties(width=width - labels - 24, height=height, background="transparent", padding=4)
        .configure(font=FONT)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK,
            titleColor=QUIET,
            gridColor=LINE,
            domainColor=LINE,
            tickColor=LINE,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelLimit=labels - 14,
            labelPadding=6,
            titlePadding=8,
        )
        .configure_axisY(ticks=False, domain=False, grid=False, minExtent=labels, maxExtent=labels)
        .configure_axisX(tickCount=4 if narrow else 7)
        .configure_legend(labelColor=INK, labelFontSize=10 if narrow else 12)
    )
    return sized
