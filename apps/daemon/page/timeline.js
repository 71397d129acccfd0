// @ts-check
import { h, s, setText } from "./dom.js";
import { formatAge, formatBytes, formatDuration, formatLocal, nowMs } from "./format.js";

/** @import { BackupSummary, RunRecord, SeriesStatus } from "../src/daemon/daemon-view.ts" */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Part of the width that is for what comes: the next run, and when a series gets stale. */
const FUTURE = 0.16;
const SIDE = 10;
const POINTS_TOP = 20;
const POINTS_HEIGHT = 50;
const LANE_HEIGHT = 50;
const AXIS_HEIGHT = 20;
/** A gap is this much longer than the longer one of those beside it: what retention thins out is none. */
const GAP_FACTOR = 1.9;
/** From one mark on the axis to the next. */
const HOURS = [1, 2, 3, 6, 12];
const DAYS = [1, 2, 5, 7, 14];
const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120, 300, 600, 1_200, 3_000];

/** @typedef {"good" | "read-back" | "damaged" | "unreadable"} PointState */

/**
 * @typedef {object} Point
 * @property {BackupSummary} backup
 * @property {number} atMs
 * @property {PointState} state
 */

/**
 * @typedef {object} TimelineData
 * @property {readonly Point[]} points oldest first
 * @property {readonly RunRecord[]} runs
 * @property {SeriesStatus} status
 */

/** @type {readonly { id: string, label: string, name: string, spanMs: number }[]} */
const ZOOMS = [
  { id: "24h", label: "24 h", name: "24 hours", spanMs: DAY_MS },
  { id: "7d", label: "7 d", name: "7 days", spanMs: 7 * DAY_MS },
  { id: "30d", label: "30 d", name: "30 days", spanMs: 30 * DAY_MS },
  { id: "all", label: "All", name: "all that are known", spanMs: 0 },
];

/** @type {Readonly<Record<PointState, string>>} */
export const stateTexts = {
  good: "good when it was taken",
  "read-back": "good, and read back",
  damaged: "damaged",
  unreadable: "not readable",
};

/**
 * Puts a restore point on the line of time: at when it was begun, or what its id says of it.
 *
 * @param {BackupSummary} backup
 * @returns {Point}
 */
export function toPoint(backup) {
  const { id, startedAt, verified, verifiedAt, problem } = backup;
  /** @type {PointState} */
  const state = problem !== null ? "unreadable" : !verified ? "damaged" : verifiedAt !== null ? "read-back" : "good";
  return { backup, atMs: Date.parse(startedAt === "" ? timeOfId(id) : startedAt), state };
}

/** @param {string} id */
function timeOfId(id) {
  return id.replace(/^.*(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z$/, "$1-$2-$3T$4:$5:$6.$7Z");
}

/** @param {Point} point */
export function pointTime({ atMs }) {
  return Number.isNaN(atMs) ? "" : new Date(atMs).toISOString();
}

/**
 * In which stretches of time there is no restore point, though there are some before and after it as close as can be
 * expected there.
 *
 * @param {readonly number[]} timesMs in ascending order
 * @returns {[number, number][]}
 */
export function findGaps(timesMs) {
  /** @type {[number, number][]} */
  const gaps = [];
  const between = timesMs.slice(1).map((at, index) => at - (timesMs[index] ?? at));
  for (const [index, length] of between.entries()) {
    const around = Math.max(between[index - 1] ?? 0, between[index + 1] ?? 0);
    if (around > 0 && length > GAP_FACTOR * around) gaps.push([timesMs[index] ?? 0, timesMs[index + 1] ?? 0]);
  }
  return gaps;
}

/**
 * Round times for an axis, in this browser's time zone.
 *
 * @param {number} fromMs
 * @param {number} toMs
 * @param {number} most how many have room
 * @returns {{ atMs: number, text: string }[]}
 */
export function axisTicks(fromMs, toMs, most) {
  /** @param {number} ms */
  const has = (ms) => (toMs - fromMs) / ms <= most;
  const hours = HOURS.find((step) => has(step * HOUR_MS));
  const days = DAYS.find((step) => has(step * DAY_MS));
  const months = MONTHS.find((step) => has(step * 30 * DAY_MS)) ?? 12_000;
  const at = new Date(fromMs);
  at.setHours(0, 0, 0, 0);
  if (days === undefined) at.setMonth(0, 1);
  const ticks = [];
  while (at.getTime() <= toMs) {
    /** @type {Intl.DateTimeFormatOptions} */
    let shown = { day: "numeric", month: "short" };
    if (hours !== undefined && at.getHours() !== 0) shown = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    else if (days === undefined) shown = { month: "short", year: "numeric" };
    if (at.getTime() >= fromMs) ticks.push({ atMs: at.getTime(), text: at.toLocaleString("en-GB", shown) });
    // By the calendar, so that a day with 23 or 25 hours does not shift what follows.
    if (hours !== undefined) at.setHours(at.getHours() + hours);
    else if (days !== undefined) at.setDate(at.getDate() + days);
    else at.setMonth(at.getMonth() + months);
  }
  return ticks;
}

/**
 * The line of restore points, with their sizes and durations below it: drawn to the width that there is, and walked
 * with the arrow keys as a slider is.
 *
 * @param {string} key unique in the page
 * @param {string} name of the series
 * @param {(id: string) => void} onSelect
 */
export function createTimeline(key, name, onSelect) {
  /** @type {TimelineData | null} */
  let data = null;
  /** @type {string | null} */
  let selected = null;
  /** @type {string | null} null: nobody has chosen one */
  let zoom = null;
  let width = 0;
  /** @type {{ point: Point, x: number }[]} */
  let visible = [];

  const plot = h("div", {
    class: "plot",
    role: "slider",
    tabindex: 0,
    "aria-label": `Restore points of ${name}`,
    "aria-orientation": "horizontal",
    keydown: (event) => onKey(/** @type {KeyboardEvent} */ (event)),
    click: (event) => onClick(/** @type {MouseEvent} */ (event)),
  });
  const legend = h("ul", { class: "legend", "aria-label": "Signs" });
  const zooms = h("fieldset", { class: "zooms" }, h("legend", { class: "unseen" }, "How far back"));
  for (const { id, label, name: spoken } of ZOOMS) {
    const input = h("input", {
      type: "radio",
      name: `zoom-${key}`,
      value: id,
      "aria-label": spoken,
      change: () => {
        zoom = id;
        draw();
      },
    });
    zooms.append(h("label", {}, input, h("span", { "aria-hidden": "true" }, label)));
  }
  const hint = h("p", { class: "hint", id: `hint-${key}` }, "← → walk from one restore point to the next");
  plot.setAttribute("aria-describedby", hint.id);
  const top = h("div", { class: "timeline-top" }, legend, zooms);
  const element = h("div", { class: "timeline" }, top, h("div", { class: "plot-box" }, plot, hint));
  new ResizeObserver(([entry]) => {
    const measured = Math.floor(entry?.contentRect.width ?? 0);
    if (measured === width || measured === 0) return;
    width = measured;
    draw();
  }).observe(plot);

  /** @param {number} index */
  const choose = (index) => {
    const at = visible[Math.min(Math.max(index, 0), visible.length - 1)];
    if (at !== undefined) onSelect(at.point.backup.id);
  };

  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const index = visible.findIndex(({ point }) => point.backup.id === selected);
    const from = index < 0 ? visible.length : index;
    /** @type {Record<string, number>} */
    const targets = {
      ArrowLeft: from - 1,
      ArrowDown: from - 1,
      ArrowRight: from + 1,
      ArrowUp: from + 1,
      PageDown: from - 10,
      PageUp: from + 10,
      Home: 0,
      End: visible.length - 1,
    };
    const target = targets[event.key];
    if (target === undefined) return;
    event.preventDefault();
    choose(target);
  };

  /** @param {MouseEvent} event */
  const onClick = (event) => {
    const x = event.clientX - plot.getBoundingClientRect().left;
    const distances = visible.map((at) => Math.abs(at.x - x));
    if (distances.length > 0) choose(distances.indexOf(Math.min(...distances)));
  };

  const draw = () => {
    if (data === null || width === 0) return;
    const now = nowMs();
    const shown = zoom ?? firstZoom(data.points, now);
    for (const input of zooms.querySelectorAll("input")) input.checked = input.value === shown;
    const domain = domainOf(shown, data.points, now);
    const { fromMs, toMs } = domain;
    const scale = (width - 2 * SIDE) / (toMs - fromMs);
    /** @param {number} atMs */
    const toX = (atMs) => SIDE + (atMs - fromMs) * scale;
    visible = data.points
      .filter(({ atMs }) => atMs >= fromMs && atMs <= toMs)
      .map((point) => ({ point, x: toX(point.atMs) }));
    const lanes = lanesOf(visible);
    const height = POINTS_TOP + POINTS_HEIGHT + lanes.length * LANE_HEIGHT + AXIS_HEIGHT;
    const drawing = s(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
      hatch(`gap-${key}`, "hatch"),
      hatch(`stale-${key}`, "hatch-stale"),
    );
    drawAxis(drawing, { fromMs, toMs, toX, height, width });
    const { hasGap, isStale } = drawStretches(drawing, { data, domain, toX, key, now });
    drawNowAndNext(drawing, { status: data.status, domain, toX, height, now, width });
    const chosen = visible.find(({ point }) => point.backup.id === selected);
    if (chosen !== undefined) drawCursor(drawing, chosen.x, height);
    const failures = drawFailures(drawing, data.runs, domain, toX);
    drawPoints(drawing, visible);
    if (chosen !== undefined) {
      drawing.append(s("circle", { class: "ring", cx: chosen.x, cy: POINTS_TOP + POINTS_HEIGHT / 2, r: 10 }));
    }
    for (const [index, lane] of lanes.entries()) drawLane(drawing, lane, laneTop(index), visible, selected, width);
    plot.replaceChildren(drawing);
    showLegend(legend, visible, { hasGap, isStale, failures });
    describe(chosen?.point ?? null);
  };

  /** @param {Point | null} point */
  const describe = (point) => {
    plot.setAttribute("aria-valuemin", "1");
    plot.setAttribute("aria-valuemax", String(Math.max(visible.length, 1)));
    const index = visible.findIndex((at) => at.point === point);
    plot.setAttribute("aria-valuenow", String(index < 0 ? Math.max(visible.length, 1) : index + 1));
    const text =
      visible.length === 0
        ? "no restore points in this time"
        : point === null
          ? `${visible.length} restore points, none of them selected`
          : `${formatLocal(pointTime(point))}, ${describePoint(point)}, ${index + 1} of ${visible.length}`;
    plot.setAttribute("aria-valuetext", text);
  };

  return {
    element,
    draw,
    /** @param {TimelineData} next */
    update(next) {
      const before = data;
      data = next;
      const isSame =
        before?.points === next.points &&
        before.runs === next.runs &&
        before.status.next?.at === next.status.next?.at &&
        before.status.staleAt === next.status.staleAt;
      if (!isSame) draw();
    },
    /** @param {string | null} id */
    select(id) {
      if (selected === id) return;
      selected = id;
      draw();
    },
  };
}

/**
 * The shortest in which there is something to see.
 *
 * @param {readonly Point[]} points
 * @param {number} now
 */
function firstZoom(points, now) {
  /** @param {number} ms */
  const within = (ms) => points.filter(({ atMs }) => atMs > now - ms).length;
  const all = points.length;
  if (within(DAY_MS) === all) return "24h";
  if (within(7 * DAY_MS) >= Math.min(all, 20)) return "7d";
  return within(30 * DAY_MS) > 1 ? "30d" : "all";
}

/**
 * @typedef {{ fromMs: number, toMs: number }} Domain
 */

/**
 * @param {string} zoom
 * @param {readonly Point[]} points
 * @param {number} now
 * @returns {Domain}
 */
function domainOf(zoom, points, now) {
  const fixed = ZOOMS.find(({ id }) => id === zoom)?.spanMs ?? 0;
  const oldest = points.find(({ atMs }) => !Number.isNaN(atMs))?.atMs ?? now;
  const spanMs = fixed > 0 ? fixed : Math.max(now - oldest, DAY_MS) * 1.02;
  return { fromMs: now - spanMs, toMs: now + (spanMs * FUTURE) / (1 - FUTURE) };
}

/** @param {Point} point */
function describePoint({ backup, state }) {
  const size = state === "unreadable" ? "" : `, ${formatBytes(backup.bytes)}`;
  return `${stateTexts[state]}${size}${backup.pinned === null ? "" : ", pinned"}`;
}

/**
 * @param {string} id
 * @param {string} className
 */
function hatch(id, className) {
  const line = s("path", { class: className, d: "M-2 2 2 -2M0 8 8 0M6 10 10 6" });
  return s("defs", {}, s("pattern", { id, width: 8, height: 8, patternUnits: "userSpaceOnUse" }, line));
}

/**
 * @param {SVGSVGElement} drawing
 * @param {{ fromMs: number, toMs: number, toX: (ms: number) => number, height: number, width: number }} place
 */
function drawAxis(drawing, { fromMs, toMs, toX, height, width }) {
  for (const { atMs, text } of axisTicks(fromMs, toMs, Math.max(3, Math.floor(width / 90)))) {
    const x = toX(atMs);
    drawing.append(s("path", { class: "grid", d: `M${x} ${POINTS_TOP}V${height - AXIS_HEIGHT}` }));
    if (x < 20 || x > width - 20) continue;
    drawing.append(s("text", { class: "tick", x, y: height - 5, "text-anchor": "middle" }, text));
  }
  const middle = POINTS_TOP + POINTS_HEIGHT / 2;
  drawing.append(s("path", { class: "track", d: `M${SIDE} ${middle}H${width - SIDE}` }));
}

/**
 * Where there is nothing to restore, and since when there should be something newer.
 *
 * @param {SVGSVGElement} drawing
 * @param {{ data: TimelineData, domain: Domain, toX: (ms: number) => number, key: string, now: number }} place
 */
function drawStretches(drawing, { data, domain, toX, key, now }) {
  /**
   * @param {number} from
   * @param {number} to
   * @param {"gap" | "stale"} kind
   */
  const stretch = (from, to, kind) => {
    const left = toX(Math.max(from, domain.fromMs));
    const right = toX(Math.min(to, domain.toMs));
    if (right <= left) return false;
    const text = `${kind} ${formatAge(to - from)}`;
    const box = { x: left, y: POINTS_TOP + 8, width: right - left, height: POINTS_HEIGHT - 16 };
    drawing.append(s("rect", { class: kind, ...box, fill: `url(#${kind}-${key})` }, s("title", {}, text)));
    if (right - left > 48) {
      const x = (left + right) / 2;
      drawing.append(s("text", { class: "stretch-text", x, y: POINTS_TOP + 4, "text-anchor": "middle" }, text));
    }
    return true;
  };
  const good = data.points.filter(({ state }) => state === "good" || state === "read-back").map(({ atMs }) => atMs);
  const hasGap = findGaps(good)
    .map(([from, to]) => stretch(from, to, "gap"))
    .includes(true);
  const staleMs = data.status.staleAt === null ? Number.NaN : Date.parse(data.status.staleAt);
  const isStale = staleMs < now && stretch(staleMs, now, "stale");
  return { hasGap, isStale };
}

/**
 * @param {SVGSVGElement} drawing
 * @param {{ status: SeriesStatus, domain: Domain, toX: (ms: number) => number, height: number, now: number, width: number }} place
 */
function drawNowAndNext(drawing, { status, domain, toX, height, now, width }) {
  const x = toX(now);
  const middle = POINTS_TOP + POINTS_HEIGHT / 2;
  drawing.append(
    s("rect", { class: "future", x, y: POINTS_TOP, width: width - x, height: height - AXIS_HEIGHT - POINTS_TOP }),
    s("path", { class: "now", d: `M${x} ${POINTS_TOP - 4}V${height - AXIS_HEIGHT}` }),
    s("text", { class: "now-text", x, y: POINTS_TOP - 8, "text-anchor": "middle" }, "now"),
  );
  const nextMs = status.next === null ? Number.NaN : Date.parse(status.next.at);
  const nextX = toX(nextMs);
  if (nextMs > now && nextMs < domain.toMs) {
    drawing.append(s("circle", { class: "next", cx: nextX, cy: middle, r: 5 }, s("title", {}, "next run")));
    if (nextX - x > 30) {
      drawing.append(s("text", { class: "tick", x: nextX, y: middle + 20, "text-anchor": "middle" }, "next"));
    }
  }
  const staleMs = status.staleAt === null ? Number.NaN : Date.parse(status.staleAt);
  if (!(staleMs > domain.fromMs && staleMs < domain.toMs)) return;
  const staleX = toX(staleMs);
  const text = s("title", {}, "stale from here without a newer good backup");
  drawing.append(s("path", { class: "threshold", d: `M${staleX} ${POINTS_TOP}v${POINTS_HEIGHT}` }, text));
  if (staleX - x < 34 && staleMs > now) return;
  if (staleMs < now) return;
  const anchor = staleX > width - 60 ? "end" : "middle";
  const labelX = anchor === "end" ? Math.min(staleX + 20, width) : staleX;
  drawing.append(s("text", { class: "tick", x: labelX, y: POINTS_TOP - 8, "text-anchor": anchor }, "stale"));
}

/**
 * @param {SVGSVGElement} drawing
 * @param {number} x
 * @param {number} height
 */
function drawCursor(drawing, x, height) {
  drawing.append(s("path", { class: "cursor", d: `M${x} ${POINTS_TOP}V${height - AXIS_HEIGHT}` }));
}

/**
 * @param {SVGSVGElement} drawing
 * @param {readonly RunRecord[]} runs
 * @param {Domain} domain
 * @param {(ms: number) => number} toX
 */
function drawFailures(drawing, runs, { fromMs, toMs }, toX) {
  const failed = runs.filter(({ kind, outcome, startedAt }) => {
    const atMs = Date.parse(startedAt);
    return kind === "backup" && outcome === "failed" && atMs >= fromMs && atMs <= toMs;
  });
  const bottom = POINTS_TOP + POINTS_HEIGHT - 3;
  const d = failed.map(({ startedAt }) => `M${toX(Date.parse(startedAt))} ${bottom}v-9`).join("");
  if (d !== "") drawing.append(s("path", { class: "failure", d }, s("title", {}, "failed runs")));
  return failed.length;
}

/**
 * Good ones that have no room for themselves become one bar; the others are always seen, above it.
 *
 * @param {SVGSVGElement} drawing
 * @param {readonly { point: Point, x: number }[]} visible
 */
function drawPoints(drawing, visible) {
  const y = POINTS_TOP + POINTS_HEIGHT / 2;
  const plain = visible.filter(({ point }) => point.state === "good" || point.state === "read-back");
  /** @type {{ point: Point, x: number }[][]} */
  const groups = [];
  for (const at of plain) {
    const group = groups.at(-1);
    if (group !== undefined && at.x - (group.at(-1)?.x ?? 0) < 7) group.push(at);
    else groups.push([at]);
  }
  const closest = Math.min(
    ...plain
      .slice(1)
      .map(({ x }, index) => x - (plain[index]?.x ?? 0))
      .filter((gap) => gap >= 7),
  );
  const radius = Math.min(Math.max(closest / 2 - 0.5, 3), 5.5);
  for (const group of groups) {
    const [first] = group;
    if (first === undefined) continue;
    if (group.length === 1) {
      drawing.append(glyph(first.point.state, first.x, y, radius, pointTitle(first.point)));
      continue;
    }
    const last = group.at(-1) ?? first;
    const title = s("title", {}, `${group.length} good restore points`);
    const bar = { x: first.x - radius, y: y - radius, width: last.x - first.x + 2 * radius, height: 2 * radius };
    drawing.append(s("rect", { class: "good", ...bar, rx: radius }, title));
  }
  // Smaller where there are many, so that those between them are seen.
  const [from = 0, to = 0] = [visible[0]?.x, visible.at(-1)?.x];
  const badRadius = Math.min(Math.max((2 * (to - from)) / visible.length, 3), 5.5);
  for (const { point, x } of visible) {
    if (point.state === "damaged" || point.state === "unreadable") {
      drawing.append(glyph(point.state, x, y, visible.length === 1 ? 5.5 : badRadius, pointTitle(point)));
    }
    if (point.backup.pinned !== null) drawing.append(flag(x, y - 8));
  }
}

/** @param {Point} point */
function pointTitle(point) {
  return `${formatLocal(pointTime(point))}: ${describePoint(point)}`;
}

/**
 * @param {PointState} state
 * @param {number} x
 * @param {number} y
 * @param {number} r
 * @param {string} text
 */
function glyph(state, x, y, r, text) {
  const title = s("title", {}, text);
  if (state === "good") return s("circle", { class: "good", cx: x, cy: y, r }, title);
  if (state === "read-back") {
    const eye = s("circle", { class: "eye", cx: x, cy: y, r: r * 0.42 });
    return s("g", {}, s("circle", { class: "good", cx: x, cy: y, r }), eye, title);
  }
  const box = { x: x - r, y: y - r, width: 2 * r, height: 2 * r, rx: 1.5 };
  if (state === "unreadable") return s("rect", { class: "unreadable", ...box }, title);
  const cross = s("path", {
    class: "cross",
    d: `M${x - r / 2} ${y - r / 2}l${r} ${r}m0 ${-r}l${-r} ${r}`,
  });
  return s("g", {}, s("rect", { class: "damaged", ...box }), cross, title);
}

/**
 * @param {number} x
 * @param {number} y
 */
function flag(x, y) {
  return s("path", { class: "flag", d: `M${x} ${y}v-11h7l-2 2.8 2 2.8h-7` }, s("title", {}, "pinned"));
}

/** @param {number} index */
function laneTop(index) {
  return POINTS_TOP + POINTS_HEIGHT + index * LANE_HEIGHT;
}

/**
 * @typedef {object} Lane
 * @property {string} label
 * @property {(backup: BackupSummary) => number | null} value
 * @property {(value: number) => string} format
 */

/** @type {readonly Lane[]} */
const LANES = [
  { label: "Size", value: ({ bytes }) => bytes, format: formatBytes },
  {
    label: "Duration",
    value: ({ startedAt, finishedAt }) => Date.parse(finishedAt) - Date.parse(startedAt),
    format: formatDuration,
  },
  { label: "Downtime", value: ({ downtimeMs }) => downtimeMs, format: formatDuration },
];

/**
 * @param {Lane} lane
 * @param {Point} point
 */
function laneValue(lane, { backup, state }) {
  return state === "unreadable" ? null : lane.value(backup);
}

/**
 * Those that have something to show.
 *
 * @param {readonly { point: Point }[]} visible
 */
function lanesOf(visible) {
  return LANES.filter((lane) => visible.some(({ point }) => laneValue(lane, point) !== null));
}

/**
 * @param {SVGSVGElement} drawing
 * @param {Lane} lane
 * @param {number} top
 * @param {readonly { point: Point, x: number }[]} visible
 * @param {string | null} selected
 * @param {number} width
 */
function drawLane(drawing, lane, top, visible, selected, width) {
  const bottom = top + LANE_HEIGHT - 4;
  const room = LANE_HEIGHT - 22;
  const values = visible.flatMap(({ point, x }) => {
    const value = laneValue(lane, point);
    return value === null ? [] : [{ x, value, id: point.backup.id }];
  });
  const most = Math.max(...values.map(({ value }) => value));
  const spacing = (width - 2 * SIDE) / Math.max(values.length, 1);
  const barWidth = Math.min(Math.max(spacing * 0.55, 1.5), 9);
  /** @type {Map<number, { x: number, value: number, isSelected: boolean }>} */
  const bars = new Map();
  for (const { x, value, id } of values) {
    // Of those that fall on the same place, the largest is shown.
    const place = Math.round(x / (barWidth + 0.5));
    const bar = bars.get(place) ?? { x, value, isSelected: false };
    bars.set(place, { x, value: Math.max(bar.value, value), isSelected: bar.isSelected || id === selected });
  }
  let plain = "";
  let chosen = "";
  for (const { x, value, isSelected } of bars.values()) {
    const height = most > 0 ? Math.max((value / most) * room, 1) : 1;
    const d = `M${x - barWidth / 2} ${bottom}v${-height}h${barWidth}v${height}z`;
    if (isSelected) chosen += d;
    else plain += d;
  }
  const shown = values.find(({ id }) => id === selected);
  const label = shown === undefined ? lane.label : `${lane.label} ${lane.format(shown.value)}`;
  drawing.append(
    s("path", { class: "lane-line", d: `M${SIDE} ${bottom + 0.5}H${width - SIDE}` }),
    s("path", { class: "bars", d: plain }),
    s("path", { class: "bars-chosen", d: chosen }),
    s("text", { class: "lane-text", x: SIDE, y: top + 12 }, label),
    s("text", { class: "tick", x: width - SIDE, y: top + 12, "text-anchor": "end" }, `most ${lane.format(most)}`),
  );
}

/**
 * Explains the signs that are there, and no others.
 *
 * @param {HTMLElement} legend
 * @param {readonly { point: Point }[]} visible
 * @param {{ hasGap: boolean, isStale: boolean, failures: number }} found
 */
function showLegend(legend, visible, { hasGap, isStale, failures }) {
  /** @type {[string, () => SVGElement][]} */
  const items = [];
  for (const state of /** @type {const} */ (["good", "read-back", "damaged", "unreadable"])) {
    if (visible.some(({ point }) => point.state === state)) {
      items.push([stateTexts[state], () => glyph(state, 8, 8, 5, stateTexts[state])]);
    }
  }
  if (visible.some(({ point }) => point.backup.pinned !== null)) items.push(["pinned", () => flag(5, 14)]);
  if (failures > 0) items.push(["failed run", () => s("path", { class: "failure", d: "M8 12v-9" })]);
  if (hasGap) items.push(["gap", () => s("path", { class: "hatch", d: "M2 6 6 2M2 12 12 2M6 14 14 6" })]);
  if (isStale) items.push(["stale", () => s("path", { class: "hatch-stale", d: "M2 6 6 2M2 12 12 2M6 14 14 6" })]);
  const texts = items.map(([text]) => text).join();
  if (legend.dataset.shown === texts) return;
  legend.dataset.shown = texts;
  legend.replaceChildren(
    ...items.map(([text, draw]) => {
      const item = h(
        "li",
        {},
        s("svg", { width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" }, draw()),
      );
      const word = h("span");
      setText(word, text);
      item.append(word);
      return item;
    }),
  );
}
