// The page's view library, in one place: preact with htm, which needs no build step.
import { h, render, Fragment } from "/console/vendor/preact.js";
import htm from "/console/vendor/htm.js";

export const html = htm.bind(h);
export { render, Fragment };
export { useEffect, useMemo, useReducer, useRef, useState, useCallback } from "/console/vendor/preact-hooks.js";
