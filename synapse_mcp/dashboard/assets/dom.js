// Building elements. Texts become text nodes and nothing else: what others wrote is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element. attributes: on… are listeners, true sets an empty one, null and false leave it out. */
export function el(tag, attributes = {}, ...children) {
  return dressed(document.createElement(tag), attributes, children);
}

/** Return an element of a drawing. */
export function draw(tag, attributes = {}, ...children) {
  return dressed(document.createElementNS(SVG, tag), attributes, children);
}

/** Put these in the place of all that an element holds. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter(isSomething));
  return node;
}

/** Return an element whose text is made anew every second. */
export function ticking(tag, attributes, text) {
  const node = el(tag, { ...attributes, "data-tick": "" }, text());
  TICKING.set(node, text);
  return node;
}

const TICKING = new WeakMap();

setInterval(() => {
  for (const node of document.querySelectorAll("[data-tick]")) {
    const text = TICKING.get(node)?.();
    if (text !== undefined && node.textContent !== text) node.textContent = text;
  }
}, 1000);

function dressed(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.flat(Infinity).filter(isSomething));
  return node;
}

function isSomething(child) {
  return child !== null && child !== undefined && child !== false && child !== "";
}
