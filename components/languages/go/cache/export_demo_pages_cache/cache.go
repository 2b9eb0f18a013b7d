// Package export_demo_pages_cache is the cache in Go: has each line drawn once, wherever the renderer runs.
package export_demo_pages_cache

import (
	"wit_component/demo_pages_cache"
	"wit_component/demo_pages_renderer"

	"go.bytecodealliance.org/pkg/wit/types"
)

type page = demo_pages_cache.Page

func Show(lines []string) wit_types.Result[page, string] {
	if len(lines) == 0 {
		return wit_types.Err[page, string]("there are no lines")
	}
	pictures := map[string][]uint8{}
	page := page{}
	for _, line := range lines {
		picture, known := pictures[line]
		if known {
			page.Kept++
		} else {
			// A call of another component: its node may be another one, and so may ours be afterwards.
			picture = demo_pages_renderer.Render(line)
			pictures[line] = picture
			page.Drawn++
		}
		page.Svg = append(page.Svg, picture...)
	}
	return wit_types.Ok[demo_pages_cache.Page, string](page)
}
