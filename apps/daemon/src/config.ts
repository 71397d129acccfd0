export type {
  Config,
  DaemonConfig,
  HttpConfig,
  NotificationConfig,
  NotifiedEvent,
  ScheduleConfig,
  SeriesConfig,
} from "./config/config-types.ts";
export { readConfig, readHttpPlace, seriesOf } from "./config/read-config.ts";
export { readDaemonConfig } from "./config/read-daemon-config.ts";
