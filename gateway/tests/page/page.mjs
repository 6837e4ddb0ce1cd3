// The admin page in headless Chromium: node page.mjs PACKAGES URL FOLDER; see docs/admin.md.
// PACKAGES holds the node_modules of package.json beside this file, FOLDER gets the pictures, and
// CHROMIUM names the browser. Exit code 1 with all that is wrong.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const [packages, url, folder] = process.argv.slice(2);
const { chromium } = createRequire(join(packages, "package.json"))("playwright-core");
const SHOTS = [
  ["desktop-light", 1200, 850, "light"], ["desktop-dark", 1200, 850, "dark"],
  ["phone-light", 375, 720, "light"], ["phone-dark", 375, 720, "dark"],
];
// Of the shot's own figures: enough polls for rates to be there.
const WAIT_MS = Number(process.env.WAIT_MS ?? 7000);

const complaints = [];
const expect = (holds, words) => { if (!holds) complaints.push(words); };

async function look(browser, [name, width, height, colorScheme]) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  page.on("pageerror", (error) => complaints.push(`${name}: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(`${name}: ${message.text()}`);
  });
  await page.goto(url);
  await page.waitForFunction(() => document.querySelector("#routes tbody tr"));
  await page.waitForTimeout(WAIT_MS);
  await page.screenshot({ path: `${folder}/admin-${name}.png` });
  const found = await page.evaluate(() => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    return {
      width: document.documentElement.scrollWidth,
      unlabelled: all("input, textarea").filter((it) => it.labels.length === 0).length,
      uncaptioned: all("table").filter((it) => !it.caption?.textContent).length,
      unnamed: all("section").filter((it) => !document.getElementById(it.getAttribute("aria-labelledby"))).length,
      landmarks: ["header", "nav", "main"].filter((it) => !document.querySelector(it)).length,
      back: getComputedStyle(document.body).backgroundColor,
      state: document.getElementById("state-text").textContent,
    };
  });
  expect(found.width <= width, `${name}: ${found.width} pixels wide`);
  for (const kind of ["unlabelled", "uncaptioned", "unnamed", "landmarks"]) {
    expect(found[kind] === 0, `${name}: ${found[kind]} ${kind}`);
  }
  expect(found.state === "ready", `${name}: it says ${found.state}`);
  expect((found.back === "rgb(18, 21, 27)") === (colorScheme === "dark"), `${name}: ${found.back}`);
  await explainByKeyboard(page, name);
  await page.close();
}

async function explainByKeyboard(page, name) {
  await page.reload();
  await page.keyboard.press("Tab");
  const first = await page.evaluate(() => document.activeElement.className);
  expect(first === "skip", `${name}: Tab goes first to ${first}`);
  await page.focus("input[name=target]");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("/surely/nowhere//else");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#answer .verdict");
  const verdict = await page.textContent("#answer .verdict");
  expect(verdict.includes("400 path_invalid"), `${name}: ${verdict}`);
  const focused = await page.evaluate(() => document.activeElement.id);
  expect(focused === "answer", `${name}: the answer is not read out but ${focused}`);
  await page.fill("input[name=target]", "/");
  await page.press("input[name=target]", "Enter");
  await page.waitForSelector("#answer li");
  const routes = await page.textContent("#answer h3:has-text('Route') + ul");
  expect(/\([^)]+:\d+\)/.test(routes), `${name}: no route says where it is written: ${routes}`);
}

const executablePath = process.env.CHROMIUM;
const home = dirname(executablePath);
// The browser that unpack.mjs has unpacked has libraries and fonts beside it.
const env = existsSync(join(home, "fonts.conf"))
  ? { ...process.env, LD_LIBRARY_PATH: join(home, "lib"), FONTCONFIG_PATH: home }
  : process.env;
const args = ["--no-sandbox", "--disable-gpu"];
const browser = await chromium.launch({ executablePath, env, args });
for (const shot of SHOTS) await look(browser, shot);
await browser.close();
for (const complaint of complaints) console.error(complaint);
process.exitCode = complaints.length > 0 ? 1 : 0;
