/**
 * Where the parts of the status page lie: `page`, beside `src` and `dist`. Whoever bundles the command into one file
 * replaces this module by one that names another place.
 */
export const PAGE_FOLDER: URL = new URL("../../page/", import.meta.url);
