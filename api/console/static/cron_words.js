// A cron expression of five fields in words. What this cannot say stays as it was written: words that are wrong are worse.
import { listed } from "/console/parts.js";

const SHORTHANDS = {
  "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
  "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
};
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/** More times of the day than these are said as minutes and hours. */
const MOST_TIMES = 6;

/** The words, or the expression itself. */
export function cronInWords(expression) {
  const fields = (SHORTHANDS[expression.trim()] ?? expression.trim()).toLowerCase().split(/\s+/);
  if (fields.length !== 5) return expression;
  const [minute, hour, day, month, weekday] = fields;
  const parts = [timesOf(minute, hour), daysOf(day, weekday), month === "*" ? "" : inMonths(month)];
  return parts.includes(null) ? expression : parts.filter(Boolean).join(", ");
}

function timesOf(minute, hour) {
  const minutes = numbersOf(minute);
  const hours = numbersOf(hour);
  if (minutes && hours && minutes.length * hours.length <= MOST_TIMES) {
    return `at ${listed(hours.flatMap((h) => minutes.map((m) => `${twoDigits(h)}:${twoDigits(m)}`)))}`;
  }
  const ofMinutes = minute === "*" ? "every minute" : everyOf(minute, 60, "minutes") ?? (minutes && `at minute ${listed(minutes)}`);
  if (!ofMinutes) return null;
  if (hour === "*") return minutes ? `${ofMinutes} of every hour` : ofMinutes;
  const ofHours = everyOf(hour, 24, "hours") ?? inHours(hour);
  return ofHours && `${ofMinutes}, ${ofHours}`;
}

function inHours(hour) {
  const said = spans(hour, (text) => (isNumber(text) ? Number(text) : null));
  return said && `in the hours ${said}`;
}

function daysOf(day, weekday) {
  const ofMonth = day === "*" ? "" : onDays(day);
  const ofWeek = weekday === "*" ? "" : onWeekdays(weekday);
  if (ofMonth === null || ofWeek === null) return null;
  if (!ofMonth && !ofWeek) return "every day";
  return [ofMonth, ofWeek].filter(Boolean).join(" or ");
}

function onDays(day) {
  const step = /^\*\/(\d+)$/.exec(day);
  if (step) return `on every ${step[1]}. day of the month from the first`;
  const said = spans(day, (text) => (isNumber(text) ? Number(text) : null));
  return said && `on day ${said} of the month`;
}

function onWeekdays(weekday) {
  const said = spans(weekday, (text) => named(text, DAYS, (number) => number % 7));
  return said && (said.includes(" to ") ? said : `on ${said}`);
}

function inMonths(month) {
  const said = spans(month, (text) => named(text, MONTHS, (number) => number - 1));
  return said && `in ${said}`;
}

/** Lists and ranges, each end said by `say`; null for anything else. */
function spans(field, say) {
  const said = field.split(",").map((part) => {
    const ends = part.split("-").map(say);
    return ends.length > 2 || ends.some((end) => end === null || end === undefined) ? null : ends.join(" to ");
  });
  return said.includes(null) ? null : listed(said);
}

function named(text, names, index) {
  if (isNumber(text)) return names[index(Number(text))];
  return names.find((name) => name.slice(0, 3).toLowerCase() === text);
}

/** A step that does not divide the hour or the day begins anew with each: nothing runs every 45 minutes by it. */
function everyOf(field, whole, unit) {
  const step = /^\*\/(\d+)$/.exec(field);
  return step && whole % Number(step[1]) === 0 ? `every ${step[1]} ${unit}` : null;
}

function numbersOf(field) {
  const parts = field.split(",");
  return parts.every(isNumber) ? parts.map(Number) : null;
}

const isNumber = (text) => /^\d{1,2}$/.test(text);
const twoDigits = (number) => String(number).padStart(2, "0");
