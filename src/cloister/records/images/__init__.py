# SPDX-License-Identifier: Apache-2.0
"""Pictures and volumes: DICOM and NIfTI, read as arrays without what identifies a person."""
