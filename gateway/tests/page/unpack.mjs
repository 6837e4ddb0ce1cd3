// Unpacks the browser that npm has brought: node unpack.mjs PACKAGES FOLDER. In FOLDER there are
// then `chromium`, and in `lib` and `fonts` what a machine without a desktop lacks.

import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
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
// The one that comes with them names folders of AWS Lambda alone, and without a single font the
// browser breaks off.
const fonts = resolve(folder, "fonts");
await writeFile(
  join(folder, "fonts.conf"),
  `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir><![CDATA[${fonts}]]></dir>
  <cachedir><![CDATA[${fonts}-cache]]></cachedir>
</fontconfig>
`,
);
