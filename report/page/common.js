"use strict";
// What the parts of the page share. Whatever a model wrote reaches the page as text alone.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const questions = new Map(data.items.map((item) => [String(item.id), item.question]));
const words = (name) => name.replaceAll("_", " ");

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== false) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Shows invisible characters, and those that turn the text around them, by their number.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff\ufeff\u{e0000}-\u{e007f}]/u;
function plain(text) {
  const parts = document.createDocumentFragment();
  let run = "";
  for (const character of text) {
    if (HIDDEN.test(character)) {
      parts.append(run, make("span", { class: "control" }, `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`));
      run = "";
    } else run += character;
  }
  parts.append(run);
  return parts;
}

// `spans`: [start, end, kind]; where they overlap, the first one shows.
function marked(text, spans) {
  const out = document.createDocumentFragment();
  const edges = [...new Set([0, text.length, ...spans.flatMap(([start, end]) => [start, end])])].sort((a, b) => a - b);
  for (let i = 0; i + 1 < edges.length; i++) {
    const piece = text.slice(edges[i], edges[i + 1]);
    const span = spans.find(([start, end]) => start <= edges[i] && edges[i + 1] <= end);
    out.append(span ? make("mark", { class: span[2], title: words(span[2]) }, plain(piece)) : plain(piece));
  }
  return out;
}

// An icon that copies the link to a place: `hash`, or what is open when it is clicked.
function copier(what, hash = null) {
  const button = $("copier").content.firstElementChild.cloneNode(true);
  const said = `Copy the link to ${what}`;
  for (const [name, value] of Object.entries({ title: said, "aria-label": said, "data-hash": hash })) if (value !== null) button.setAttribute(name, value);
  return button;
}
