// The keyboard of a phone. Where it lies over the page instead of shrinking it, what fills the screen is
// shrunk here. Zooming in with two fingers also makes the visual viewport small, and must not.

const KEYBOARD_PX = 80;

/** Keeps an element that fills the screen (`.full`) above the keyboard. @param {HTMLElement} element */
export function fitAboveKeyboard(element) {
  const viewport = window.visualViewport;
  if (!viewport) return;
  const fit = () => {
    const covered = document.documentElement.clientHeight - viewport.height;
    const isKeyboard = covered > KEYBOARD_PX && viewport.scale < 1.02;
    element.style.setProperty("--view-height", isKeyboard ? `${viewport.height}px` : "");
    element.style.setProperty("--view-top", isKeyboard ? `${viewport.offsetTop}px` : "");
  };
  viewport.addEventListener("resize", fit);
  viewport.addEventListener("scroll", fit);
}
