// Elements: made of text and nodes, never of markup, so that nothing anybody says is ever parsed.

/**
 * A new element; `content` is text or nodes, never markup.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} [className]
 * @param {...(string|Node)} content
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, className = "", ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/**
 * A new element with attributes; one that is false or undefined is left out, one that is true is empty.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string|number|boolean|undefined>} attributes
 * @param {...(string|Node)} content
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, attributes, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...content);
  return element;
}

/** @param {string} text @param {string} className @param {() => void} onClick */
export function button(text, className, onClick) {
  const element = make("button", className, text);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A line drawing of 24 by 24; it says nothing to a screen reader. @param {string} path @param {number} [size] in pixels */
export function icon(path, size = 20) {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = {
    viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true", fill: "none", stroke: "currentColor",
    "stroke-width": "1.9", "stroke-linecap": "round", "stroke-linejoin": "round",
  };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, String(value));
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** Calls `draw` at most once per frame. @param {() => void} draw */
export function perFrame(draw) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; draw(); });
  };
}

/** Whether a key belongs to an input method. Safari ends the composition before its Enter, with key code 229. @param {KeyboardEvent} event */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

/** A text area as high as its text; the style sheet limits it. @param {HTMLTextAreaElement} area */
export function growArea(area) {
  // What is around it keeps its place meanwhile: the list would scroll, as if its reader had gone up.
  const around = area.parentElement;
  if (around) around.style.minHeight = `${around.offsetHeight}px`;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
  if (around) around.style.minHeight = "";
}

/** The element that has the focus, inside the same shadow root as `element`. @param {Element} element */
export function focusBeside(element) {
  return /** @type {Document|ShadowRoot} */ (element.getRootNode()).activeElement;
}
