/** A length of time in the calendar's units, which months and years have no fixed number of. */
export interface Duration {
  readonly months: number;
  readonly hours: number;
}

const UNITS = /^(?:(\d{1,3})y)?(?:(\d{1,4})m)?(?:(\d{1,4})w)?(?:(\d{1,4})d)?(?:(\d{1,4})h)?$/;

/** `36h`, `14d`, `2w`, `6m`, `1y6m`: years, months, weeks, days and hours, in this order. Null for what is none, or 0. */
export function parseDuration(text: string): Duration | null {
  const [years = 0, months = 0, weeks = 0, days = 0, hours = 0] = (UNITS.exec(text) ?? [])
    .slice(1)
    .map((n = "0") => +n);
  const duration = { months: 12 * years + months, hours: 24 * (7 * weeks + days) + hours };
  return duration.months + duration.hours === 0 ? null : duration;
}

/** The time that long after `time`, in UTC. A day that the month there does not have is its last one. */
export function after(time: Date, duration: Duration): Date {
  return moved(time, duration, 1);
}

/** The time that long before `time`, in UTC. A day that the month there does not have is its last one. */
export function before(time: Date, duration: Duration): Date {
  return moved(time, duration, -1);
}

function moved(time: Date, { months, hours }: Duration, direction: 1 | -1): Date {
  const result = new Date(time);
  const day = result.getUTCDate();
  result.setUTCDate(1);
  result.setUTCMonth(result.getUTCMonth() + direction * months + 1, 0);
  result.setUTCDate(Math.min(day, result.getUTCDate()));
  return new Date(result.getTime() + direction * hours * 3_600_000);
}
