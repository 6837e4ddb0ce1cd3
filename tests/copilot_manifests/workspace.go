package main

import (
	"os"
	"path/filepath"
)

// workspace is the folder copilot/, as addon.ParseFromWorkload wants to see it.
type workspace string

func (w workspace) WorkloadAddonsAbsPath(name string) string {
	return filepath.Join(string(w), name, "addons")
}

func (w workspace) WorkloadAddonFileAbsPath(name, file string) string {
	return filepath.Join(string(w), name, "addons", file)
}

func (w workspace) EnvAddonsAbsPath() string {
	return filepath.Join(string(w), "environments", "addons")
}

func (w workspace) EnvAddonFileAbsPath(file string) string {
	return filepath.Join(string(w), "environments", "addons", file)
}

func (w workspace) ListFiles(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, nil
}

func (w workspace) ReadFile(path string) ([]byte, error) {
	return os.ReadFile(path)
}
