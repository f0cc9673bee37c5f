/* dom.js - a page as a value: h() says what it should be, render() makes the document agree.
 *
 * Text becomes text nodes and nothing else, so what a model, a process or a card is called cannot become
 * markup.  Styles are set through the object model, which the content policy allows. */

const SVG = "http://www.w3.org/2000/svg";
/* Live state of the element, not its markup. */
const PROPERTIES = new Set(["value", "checked", "disabled", "open", "selected", "scrollTop"]);

function flatten(list, into) {
  for (const child of list) {
    if (Array.isArray(child)) flatten(child, into);
    else if (child && typeof child === "object") into.push(child);
    else if (child !== null && child !== undefined && child !== false && child !== true) into.push(String(child));
  }
  return into;
}

/* props: attributes; on: {click: fn}; style: {name: value}; key: identity among its siblings;
 * own: true leaves the inside to mount(element) and update(element). */
export function h(tag, props, ...children) {
  return {tag, props: props || {}, children: flatten(children, [])};
}

function listen(element, on, before) {
  for (const name in before) if (!(name in on)) element[`_${name}`] = null;
  for (const name in on) {
    if (!(`_${name}` in element)) element.addEventListener(name, (event) => element[`_${name}`]?.(event));
    element[`_${name}`] = on[name];
  }
}

function style(element, now, before) {
  for (const name in before) if (!(name in now)) element.style.removeProperty(name);
  for (const name in now) if (now[name] !== before[name]) element.style.setProperty(name, now[name]);
}

function assign(element, now, before) {
  for (const name in before) if (!(name in now) && name !== "on" && name !== "style") element.removeAttribute(name);
  for (const name in now) {
    const value = now[name];
    if (name === "on") listen(element, value, before.on || {});
    else if (name === "style") style(element, value, before.style || {});
    else if (name === "key" || name === "own" || name === "mount" || name === "update" || name === "remove") continue;
    else if (PROPERTIES.has(name)) { if (element[name] !== value) element[name] = value; }
    else if (value === before[name]) continue;
    else if (value === false || value === null || value === undefined) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
}

function make(wanted, svg) {
  if (typeof wanted === "string") return document.createTextNode(wanted);
  const inside = svg || wanted.tag === "svg";
  const element = inside ? document.createElementNS(SVG, wanted.tag) : document.createElement(wanted.tag);
  if (!wanted.props.own) children(element, [], wanted.children, inside);
  assign(element, wanted.props, {}); /* after the children: a select's value names one of them */
  if (wanted.props.mount) wanted.props.mount(element);
  return element;
}

const same = (a, b) => typeof a === "string" ? typeof b === "string"
  : typeof b !== "string" && a.tag === b.tag && a.props.key === b.props.key;

function drop(row) {
  if (typeof row.was !== "string") gone(row);
  row.node.remove();
}
function gone(row) {
  for (const child of row.node._rows || []) if (typeof child.was !== "string") gone(child);
  if (row.was.props.remove) row.was.props.remove(row.node);
}

function agree(row, wanted, svg) {
  const {node, was} = row;
  if (typeof wanted === "string") {
    if (was !== wanted) node.data = wanted;
  } else {
    const inside = svg || wanted.tag === "svg";
    if (!wanted.props.own) children(node, node._rows || [], wanted.children, inside);
    assign(node, wanted.props, was.props);
    if (wanted.props.update) wanted.props.update(node);
  }
  row.was = wanted;
}

/* Rows that are still wanted stay where they are, with their focus and their scroll; the others go. */
function children(parent, rows, wanted, svg) {
  const keyed = new Map(), rest = [];
  for (const row of rows) {
    const key = typeof row.was === "string" ? undefined : row.was.props.key;
    if (key === undefined) rest.push(row);
    else keyed.set(key, row);
  }
  const now = [];
  let at = 0;
  for (const child of wanted) {
    const key = typeof child === "string" ? undefined : child.props.key;
    let row;
    if (key !== undefined) {
      row = keyed.get(key);
      if (row && same(row.was, child)) keyed.delete(key);
      else row = undefined;
    } else if (at < rest.length && same(rest[at].was, child)) {
      row = rest[at++];
    } else if (at < rest.length && rest.length > wanted.length) {
      while (at < rest.length && !same(rest[at].was, child)) drop(rest[at++]);
      row = rest[at++];
    } else if (at < rest.length) {
      drop(rest[at++]);
    }
    if (row) agree(row, child, svg);
    else row = {node: make(child, svg), was: child};
    now.push(row);
  }
  while (at < rest.length) drop(rest[at++]);
  for (const row of keyed.values()) drop(row);
  now.forEach((row, i) => {
    const there = parent.childNodes[i];
    if (there !== row.node) parent.insertBefore(row.node, there || null);
  });
  parent._rows = now;
}

export function render(parent, ...wanted) {
  if (!parent._rows) parent.replaceChildren();
  children(parent, parent._rows || [], flatten(wanted, []), false);
}
