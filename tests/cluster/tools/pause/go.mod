module scalequest.invalid/tools/pause

go 1.26.0

tool scalequest.invalid/tools/pause
