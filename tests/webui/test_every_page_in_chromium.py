"""Every page in a real browser, wide and on a phone, light and dark: axe finds nothing serious, and it fits."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from django.test import Client

from tests.support.every_page import every_page, fragments, pages_of_strangers
from tests.support.portal_driver import axe, comes_true
from tests.support.rendered_pages import ADDRESS, in_chromium
from webui.accounts.models import User

if TYPE_CHECKING:
    from playwright.sync_api import ViewportSize


WIDE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
OF_COLOURS = ("color-contrast", "link-in-text-block")  # what axe finds in one theme and not in another

FILLED = """() => {
  const model = document.body.appendChild(document.createElement('button'));
  const colour = getComputedStyle(model).backgroundColor;
  model.remove();
  return [...document.querySelectorAll('main :is(button, a.button)')]
    .filter((node) => node.checkVisibility() && getComputedStyle(node).backgroundColor === colour)
    .map((node) => node.textContent.trim());
}"""
UNFOLD = """() => {
  document.querySelectorAll('main details:not(.menu)').forEach((node) => { node.open = true; });
  document.querySelectorAll('[role=tabpanel]').forEach((node) => { node.hidden = false; });
}"""
BEYOND = "() => document.documentElement.scrollWidth > innerWidth ? [`${document.documentElement.scrollWidth} px`] : []"
SIDEWAYS = """() => [...document.querySelectorAll('main *')]
  .filter((node) => node.checkVisibility() && node.scrollWidth > node.clientWidth + 2 && node.clientWidth > 60)
  .filter((node) => ['auto', 'scroll'].includes(getComputedStyle(node).overflowX))
  .filter((node) => !['TEXTAREA', 'PRE'].includes(node.tagName))  // what is to be copied
  .map((node) => `${node.tagName}.${node.className} ${node.textContent.trim().slice(0, 40)}`
    + ` ${node.scrollWidth} > ${node.clientWidth}`)"""

# Controls that are not fully visible: beyond the window, clipped by a box, or covered by another control
# (of the bar at the bottom of a recording's page only what is in it: the page scrolls beneath).
CUT_OFF = """() => {
  const shown = [...document.querySelectorAll('main :is(button, a.button, input, select, audio)')]
    .filter((node) => node.checkVisibility() && node.type !== 'hidden' && node.type !== 'file');
  const names = (node) => `${node.tagName} ${node.textContent.trim() || node.name || node.src || node.type}`;
  const bad = [];
  for (const node of shown) {
    const box = node.getBoundingClientRect();
    if (box.left < 0 || box.right > innerWidth + 0.5 || box.width < 16) bad.push(`${names(node)}: beyond the window`);
    for (let around = node.parentElement; around; around = around.parentElement) {
      const limit = around.getBoundingClientRect();
      const cuts = getComputedStyle(around).overflowX !== 'visible' && box.right > limit.right + 0.5;
      if (cuts) bad.push(`${names(node)}: cut off`);
    }
    for (const other of shown) {
      const next = other.getBoundingClientRect();
      const across = Math.min(box.right, next.right) - Math.max(box.left, next.left);
      const down = Math.min(box.bottom, next.bottom) - Math.max(box.top, next.top);
      const apart = !!node.closest('.dock') !== !!other.closest('.dock');
      if (node !== other && !apart && across > 1 && down > 1) bad.push(`${names(node)}: over ${names(other)}`);
    }
  }
  return bad;
}"""


def test_pages_fit_have_contrast_and_one_primary_button(owners: Client, owner: User, other: User) -> None:
    pages = every_page(owner)
    shown: dict[str, Any] = {f"/en/{name.replace(' ', '-')}": path for name, path in pages.items()}
    for name, answer in pages_of_strangers(owner, other).items():
        shown[f"/en/{name.replace(' ', '-')}"] = answer
    german: dict[str, Any] = {}
    for name, path in pages.items():
        german[f"/de/{name.replace(' ', '-')}"] = owners.get(path, headers={"Accept-Language": "de"})
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    with in_chromium(owners, {**shown, **german, **fragments(owners, pages)}, viewport=WIDE) as page:

        def look(path: str) -> None:
            page.set_viewport_size(PHONE)
            page.goto(ADDRESS + path)
            comes_true(page, "!document.querySelector('.htmx-request')")
            found["more than one button filled, 390 px"][path] = page.evaluate(FILLED)[1:]
            found["cut off, 390 px"][path] = page.evaluate(CUT_OFF)
            page.evaluate(UNFOLD)
            found["to be moved sideways, 390 px"][path] = page.evaluate(SIDEWAYS)
            found["wider than the screen, 390 px"][path] = page.evaluate(BEYOND)

        for path in german:
            look(path)
        for path in shown:
            page.emulate_media(color_scheme="light")
            look(path)
            found["axe, 390 px"][path] = axe(page)
            page.emulate_media(color_scheme="dark")
            found["axe, dark, 390 px"][path] = axe(page, *OF_COLOURS)
            page.set_viewport_size(WIDE)
            found["axe, dark, 1280 px"][path] = axe(page, *OF_COLOURS)
            page.emulate_media(color_scheme="light")
            found["axe, 1280 px"][path] = axe(page)
            found["wider than the screen, 1280 px"][path] = page.evaluate(BEYOND)
    bad = {what: {path: each for path, each in by_page.items() if each} for what, by_page in found.items()}
    assert bad == {what: {} for what in found}
