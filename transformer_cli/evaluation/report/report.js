"use strict";
// Attention under the pointer: a target token shades the source tokens by its weights, 0 to 9.
for (const box of document.querySelectorAll(".attention")) {
  const sources = box.querySelectorAll(".source .token");
  const targets = box.querySelectorAll("button.token");
  const show = (target) => {
    const weights = target.dataset.weights.split(" ");
    sources.forEach((token, place) => { token.className = "token a" + weights[place]; });
    targets.forEach((token) => { token.classList.toggle("on", token === target); });
  };
  for (const target of targets) {
    for (const event of ["pointerenter", "focus", "click"]) {
      target.addEventListener(event, () => show(target));
    }
  }
}
