import type { Page } from "playwright-core";

/** How many pixels the page is wider than the window. */
export function overflow(page: Page): Promise<number> {
  return page.evaluate("document.documentElement.scrollWidth - window.innerWidth");
}

/** What is wrong for who hears the page, or walks it with a keyboard: names, ids and headings. */
export function accessibilityProblems(page: Page): Promise<string[]> {
  return page.evaluate(`(() => {
    const problems = [];
    const visible = (element) => element.checkVisibility({ visibilityProperty: true });
    const nameOf = (element) => {
      const ids = (element.getAttribute("aria-labelledby") ?? "").split(" ").filter(Boolean);
      const byIds = ids.map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
      const labels = [...(element.labels ?? [])].map((label) => label.textContent).join(" ");
      return (byIds || element.getAttribute("aria-label") || labels || element.textContent || "").trim();
    };
    const describe = (element) => element.outerHTML.slice(0, 120);
    const needName = "a, button, input, summary, dialog, section, progress, table, [role=slider], [role=group], main";
    for (const element of document.querySelectorAll(needName)) {
      if (visible(element) && nameOf(element) === "") problems.push("no name: " + describe(element));
    }
    for (const element of document.querySelectorAll("svg, img")) {
      if (element.getAttribute("aria-hidden") !== "true" && element.closest("[aria-hidden=true]") === null) {
        problems.push("image is not hidden and has no name: " + describe(element));
      }
    }
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    for (const id of new Set(ids)) {
      if (ids.indexOf(id) !== ids.lastIndexOf(id)) problems.push("id is there twice: " + id);
    }
    for (const attribute of ["aria-controls", "aria-describedby", "aria-labelledby"]) {
      for (const element of document.querySelectorAll("[" + attribute + "]")) {
        const id = element.getAttribute(attribute);
        if (document.getElementById(id) === null) problems.push(attribute + " names nothing: " + id);
      }
    }
    let level = 0;
    for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
      if (!visible(heading)) continue;
      const next = Number(heading.tagName.slice(1));
      if (next > level + 1) problems.push("heading skips a level: " + describe(heading));
      level = next;
    }
    if (document.querySelectorAll("h1").length !== 1) problems.push("not one h1");
    for (const landmark of ["header", "main", "footer"]) {
      if (document.querySelectorAll("body > " + landmark).length !== 1) problems.push("not one " + landmark);
    }
    for (const slider of document.querySelectorAll("[role=slider]")) {
      for (const name of ["aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext"]) {
        if (visible(slider) && !slider.getAttribute(name)) problems.push("slider without " + name);
      }
    }
    return problems;
  })()`);
}

/** Texts that are seen and have less contrast than 4.5 : 1 with what is behind them (WCAG 2.2 AA). */
export function weakTexts(page: Page): Promise<string[]> {
  return page.evaluate(`(() => {
    const parse = (color) => {
      const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
      return { r, g, b, a };
    };
    const over = (top, below) => ({
      r: top.r * top.a + below.r * (1 - top.a),
      g: top.g * top.a + below.g * (1 - top.a),
      b: top.b * top.a + below.b * (1 - top.a),
      a: 1,
    });
    const backgroundOf = (element) => {
      if (element === null) return { r: 255, g: 255, b: 255, a: 1 };
      const own = parse(getComputedStyle(element).backgroundColor);
      return own.a === 1 ? own : over(own, backgroundOf(element.parentElement));
    };
    const luminance = ({ r, g, b }) => {
      const [x, y, z] = [r, g, b].map((value) => {
        const part = value / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const weak = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const { parentElement: element, textContent } = walker.currentNode;
      if (textContent.trim() === "" || element.closest("script, style, noscript, title, .skip, .unseen, .hint")) continue;
      if (!element.checkVisibility()) continue;
      const style = getComputedStyle(element);
      const background = backgroundOf(element);
      const color = over(parse(element instanceof SVGElement ? style.fill : style.color), background);
      const [light, dark] = [luminance(color), luminance(background)].sort((a, b) => b - a);
      const contrast = (light + 0.05) / (dark + 0.05);
      if (contrast < 4.5) weak.push(contrast.toFixed(2) + " " + textContent.trim().slice(0, 60));
    }
    return weak;
  })()`);
}

/** What has the focus, in words, and whether one can see that it has. */
export function focused(page: Page): Promise<{ readonly what: string; readonly isSeen: boolean }> {
  return page.evaluate(`(() => {
    const element = document.activeElement;
    const shown = element.matches(".zooms input") ? element.parentElement : element;
    const { outlineStyle, outlineWidth } = getComputedStyle(shown);
    const name = element.getAttribute("aria-label") ?? element.textContent;
    return {
      what: (element.getAttribute("role") ?? element.localName) + " " + name.trim(),
      isSeen: outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2,
    };
  })()`);
}
