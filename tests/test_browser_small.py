"""Every page at 320 x 640 and by keyboard alone, in a real Chromium: one sign-in each, all pages in turn. What axe finds, other
tests ask."""

from typing import Final

from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.chromium import name, signed_in
from tests.conftest import eventually

SMALL: Final = {"width": 320, "height": 640}
# What a page reads while Tab goes round has controls of its own: it goes round again, so many times at most.
ROUNDS: Final = 4
# Notes what gets the focus, and whether that is seen.
WATCH: Final = """() => {
  window.focused = new Map();
  if (window.watching) return;
  window.watching = true;
  document.addEventListener('focusin', ({ target }) => {
    const style = getComputedStyle(target);
    window.focused.set(target, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0);
  });
}"""
# The controls that can be used now, and are not behind something that is closed.
CONTROLS: Final = """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
  .filter((one) => !one.disabled && one.checkVisibility({ visibilityProperty: true }) && !one.closest('dialog:not([open])'))"""
# What is wider than the screen, or beside it, and is not in a part that scrolls by itself.
CUT: Final = """() => {
  const scrolls = (one) => one && one !== document.body
    && (['auto', 'scroll'].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
  const told = (one) => `${one.tagName} ${(one.innerText || one.className || '').toString().slice(0, 40)}`;
  const cut = [...document.querySelectorAll('main *')]
    .filter((one) => one.checkVisibility() && !one.closest('.hidden') && !scrolls(one.parentElement))
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 || one.getBoundingClientRect().left < -1)
    .map(told);
  const root = document.documentElement;
  return root.scrollWidth > innerWidth ? [...cut, `the page is ${root.scrollWidth} wide`] : cut;
}"""
MISSED: Final = f"""(controls) => controls.filter((one) => one.isConnected && ({CONTROLS})().includes(one))
  .filter((one) => window.focused.get(one) !== true)
  .map((one) => `${{one.tagName}} ${{(one.innerText || one.type || '').slice(0, 40)}} ${{window.focused.get(one)}}`)"""


def walked(page: Page) -> list[str]:
    """What is wrong with a page as it stands: what is cut off, what Tab does not reach, and whose focus is not seen."""
    page.evaluate(WATCH)
    page.evaluate("document.activeElement?.blur()")
    missed: list[str] = []
    for _ in range(ROUNDS):
        controls = page.evaluate_handle(CONTROLS)
        for _ in range(page.evaluate("(controls) => controls.length", controls) + 2):
            page.keyboard.press("Tab")
        if not (missed := page.evaluate(MISSED, controls)):
            break
    return [*page.evaluate(CUT), *missed]


def is_quiet(page: Page) -> bool:
    """Whether nothing is being read any more."""
    return not page.locator("button:disabled", has_text="Read anew").count()


def tried(page: Page) -> list[str]:
    """The page's first act: what of its dialog does not fit. Escape closes it, and the focus is where it was."""
    act = page.locator("[data-act]:enabled")
    if not act.count():
        return []
    act.first.press("Enter")
    dialog = page.locator("dialog[open]")
    expect(dialog).to_be_visible()
    box = dialog.bounding_box()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(act.first).to_be_focused()
    fits = box and box["x"] >= 0 and box["x"] + box["width"] <= SMALL["width"]
    return [] if fits else [f"a dialog at {box}"]


def test_every_page_of_the_panel_on_a_small_screen_by_keyboard(panel: Locator) -> None:
    page = panel.page
    page.set_viewport_size(SMALL)  # type: ignore[arg-type]
    menu = page.get_by_role("button", name="Pages", exact=True)
    menu.press("Enter")
    buttons = page.get_by_role("navigation", name="Pages").get_by_role("button")
    expect(buttons.first).to_be_visible()
    wrong: dict[str, list[str]] = {"the menu": walked(page)}
    for one in buttons.all_inner_texts():
        if menu.get_attribute("aria-expanded") == "false":
            menu.press("Enter")
        page.get_by_role("navigation", name="Pages").get_by_role("button", name=one, exact=True).press("Enter")
        expect(page.locator(".page > *").first).to_be_visible()
        eventually(lambda: is_quiet(page))
        wrong[one] = [*walked(page), *tried(page)]
    assert {one: found for one, found in wrong.items() if found} == {}


def test_every_page_of_the_phone_on_a_small_screen_by_keyboard(context: BrowserContext, home: str) -> None:
    page = context.new_page()
    page.set_viewport_size(SMALL)  # type: ignore[arg-type]
    page.goto(f"{home}/phone")
    wrong = {"sign-in": walked(page)}
    phone = signed_in(page, home, name())
    phone.get_by_text("Buy coins").press("Enter")
    for one in ("Coins", "People", "Chats", "Notices"):
        phone.get_by_role("navigation").get_by_role("button", name=one).press("Enter")
        wrong[one] = walked(page)
    assert {one: found for one, found in wrong.items() if found} == {}
