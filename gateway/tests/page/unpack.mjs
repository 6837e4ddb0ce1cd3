// Unpacks the browser that npm has brought: node unpack.mjs PACKAGES FOLDER. In FOLDER there are
// then `chromium`, and in `lib` and `fonts` what a machine without a desktop lacks.

import { createReadStream, createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const [packages, folder] = process.argv.slice(2);
const browser = join(packages, "node_modules/@sparticuz/chromium");
const tar = createRequire(join(browser, "package.json"))("tar-fs");

const unpack = (name, to) =>
  pipeline(createReadStream(join(browser, "bin", `${name}.br`)), createBrotliDecompress(), to);

await mkdir(folder, { recursive: true });
await Promise.all([
  unpack("chromium", createWriteStream(join(folder, "chromium"), { mode: 0o755 })),
  unpack("al2023.tar", tar.extract(folder)),
  unpack("fonts.tar", tar.extract(folder)),
]);
