/* theme.js - the theme before the first paint: what was chosen here, else what the system says. */
"use strict";
(() => {
  const root = document.documentElement;
  const wish = matchMedia("(prefers-color-scheme: light)");
  const apply = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("theme");
    } catch { /* storage may be forbidden; the system's choice then */ }
    root.dataset.theme = chosen || (wish.matches ? "light" : "dark");
    root.dataset.themeChosen = chosen || "auto";
    dispatchEvent(new Event("themechange"));
  };
  wish.addEventListener("change", apply);
  globalThis.chooseTheme = (theme) => {
    try {
      if (theme === "auto") localStorage.removeItem("theme");
      else localStorage.setItem("theme", theme);
    } catch { /* as above */ }
    apply();
  };
  apply();
})();
