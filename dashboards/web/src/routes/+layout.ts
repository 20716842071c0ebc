// Everything is drawn in the browser: `serving` only hands out files.
export const ssr = false;
