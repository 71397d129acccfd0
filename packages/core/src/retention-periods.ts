/** The calendar's rules, from the shortest to the longest. */
export const PERIODS = ["hourly", "daily", "weekly", "monthly", "yearly"] as const;

/** The periods that a moment lies in, by names that no two of them share: `2026-11-22`, `2026-W47`. */
export type PeriodNames = Readonly<Record<(typeof PERIODS)[number], string>>;

const WEEK_MS = 7 * 24 * 3_600_000;

/** Names periods as clocks and calendars in a time zone do. */
export function calendarOf(timeZone: string): (time: number) => PeriodNames {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    calendar: "gregory",
    numberingSystem: "latn",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    hourCycle: "h23",
    timeZoneName: "longOffset",
  });
  return (time) => {
    const parts = new Map(format.formatToParts(time).map(({ type, value }) => [type, value]));
    const [year, month, day] = [parts.get("year") ?? "", parts.get("month") ?? "", parts.get("day") ?? ""];
    const date = `${year}-${month}-${day}`;
    // When summer time ends a clock shows one hour twice: they differ by their offset from UTC.
    const offset = parts.get("timeZoneName")?.replace("GMT", "") || "+00:00";
    return {
      hourly: `${date} ${parts.get("hour")}:00 ${offset}`,
      daily: date,
      weekly: weekOf(Number(year), Number(month), Number(day)),
      monthly: `${year}-${month}`,
      yearly: year,
    };
  };
}

/** The week of ISO 8601: it begins on Monday and belongs to the year that its Thursday is in. */
function weekOf(year: number, month: number, day: number): string {
  const thursday = new Date(Date.UTC(year, month - 1, day));
  thursday.setUTCDate(thursday.getUTCDate() + 4 - (thursday.getUTCDay() || 7));
  const weekYear = thursday.getUTCFullYear();
  const week = 1 + Math.floor((thursday.getTime() - Date.UTC(weekYear, 0, 1)) / WEEK_MS);
  return `${weekYear}-W${String(week).padStart(2, "0")}`;
}
