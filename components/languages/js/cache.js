// The cache in JavaScript: has each line drawn once, wherever the renderer runs.
import renderer from "demo:pages/renderer@0.1.0";

export const cache = {
    show(lines) {
        // What is thrown is the error of the function's result.
        if (lines.length === 0) throw "there are no lines";
        const pictures = new Map();
        let kept = 0;
        for (const line of lines) {
            // A call of another component: its node may be another one, and so may ours be afterwards.
            if (pictures.has(line)) kept += 1;
            else pictures.set(line, renderer.render(line));
        }
        const bytes = lines.flatMap((line) => Array.from(pictures.get(line)));
        return { svg: Uint8Array.from(bytes), drawn: pictures.size, kept };
    },
};
